"""All that the learned policy hears on the graph."""

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

from mola_interfaces.msg import Foresight as ForesightMsg
from mola_interfaces.msg import RobotState
from std_msgs.msg import String

from mola_core.contracts.clock import NS_PER_MS
from mola_nodes import graph
from mola_nodes.conversions.foresight import foresight_from_message
from mola_nodes.conversions.images import capture_and_receive_ns
from mola_nodes.conversions.motion import robot_state_from_message
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.foresights import NewestForesights
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.states import StateHistory

_STATE_TOLERANCE_NS = 100 * NS_PER_MS


class PolicySubscriptions:
    """The newest of everything, while the stack is open. Of the frames only the stamps: the pixels go to the imagination."""

    def __init__(
        self,
        node: MolaNode[Any],
        *,
        roles: Iterable[str],
        lost_after_ms: int,
        local: NewestForesights | None,
        stack: ExitStack,
    ) -> None:
        """``local`` is filled by an imagination in this process; without it, foresights come over the graph."""
        roles = tuple(roles)
        self.newest = NewestInputs(roles, lost_after_ms=lost_after_ms, clock=node.system_clock)
        self.states = StateHistory(tolerance_ns=_STATE_TOLERANCE_NS)
        self.foresights = local or NewestForesights()
        for role in roles:
            node.open_subscription(graph.camera_topics(role).color_metadata, partial(self._on_metadata, role), stack)
        if local is None:
            node.open_subscription(graph.FORESIGHT, self._on_foresight, stack)
        node.open_subscription(graph.ROBOT_STATE, self._on_state, stack)
        node.open_subscription(graph.SERVO_STATUS, self.newest.note_servo, stack)

    def _on_metadata(self, role: str, message: String) -> None:
        self.newest.note_frame(role, capture_and_receive_ns(message)[0])

    def _on_state(self, message: RobotState) -> None:
        state = robot_state_from_message(message)
        self.newest.note_state(state)
        self.states.note(state)

    def _on_foresight(self, message: ForesightMsg) -> None:
        self.foresights.note(foresight_from_message(message), shadow=message.shadow)
