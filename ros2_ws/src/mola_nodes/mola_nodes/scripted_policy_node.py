"""The scripted policy: an action server that runs the twin's expert and, beside the twin's truth, sees and acts through ROS."""

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

from mola_interfaces.msg import RobotState
from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.site import load_site
from mola_nodes import graph
from mola_nodes.conversions.motion import message_from_chunk, robot_state_from_message
from mola_nodes.conversions.wire import ns_from_time
from mola_nodes.diagnostics import diagnostic_array, inputs_diagnostic
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import Rollout
from mola_nodes.policy.server import PolicyServer
from mola_nodes.process import Ending, run_node
from mola_nodes.scripted.instruction import task_of_instruction
from mola_nodes.scripted.planner import ExpertPlanner
from mola_twin.expert.expert import make_expert
from mola_twin.world_client import WorldClient

SOURCE = "scripted"


@dataclass(frozen=True)
class ScriptedPolicyParams(SiteParams):
    """Parameters of the scripted policy."""

    world_host: Annotated[str, Param("Address of the twin's world")] = "127.0.0.2"
    world_port: Annotated[int, Param("Port of the twin's world", minimum=1, maximum=65_535)] = 30151


class ScriptedPolicyNode(MolaNode[ScriptedPolicyParams]):
    """Wires the newest inputs, the expert and the action server."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.POLICY, params_type=ScriptedPolicyParams, ending=ending)
        # counts on over restarts of this node, so that its chunks are never taken for old ones
        self._sequence = itertools.count(self.system_clock.now_ns() // NS_PER_MS)

    def configure(self, stack: ExitStack) -> None:
        """Read the site and see that the twin's world answers."""
        self._site = load_site(Path(self.params.site))
        with self._open_world() as world:
            world.tasks()
        self._chunks = self.open_publisher(graph.ACTION_CHUNK, stack)
        self._diagnostics = self.open_publisher(graph.DIAGNOSTICS, stack)

    def activate(self, stack: ExitStack) -> None:
        """Look at everything and take goals."""
        lost_after_ms = 2 * self._site.safety.stale_ms
        self._inputs = NewestInputs(self._site.cameras, lost_after_ms=lost_after_ms, clock=self.system_clock)
        for role in self._site.cameras:
            self.open_subscription(graph.camera_topics(role).color, partial(self._on_frame, role), stack)
        self.open_subscription(graph.ROBOT_STATE, self._on_state, stack)
        self.open_subscription(graph.SERVO_STATUS, self._inputs.note_servo, stack)
        self.open_timer(1.0, self._publish_diagnostics, stack)
        self._server = PolicyServer(self, check=task_of_instruction, run_goal=self._run_goal, stack=stack)

    def _on_state(self, message: RobotState) -> None:
        self._inputs.note_state(robot_state_from_message(message))

    def _on_frame(self, role: str, message: Image) -> None:
        self._inputs.note_frame(role, ns_from_time(message.header.stamp))

    def _run_goal(self, instruction: str, drive: Callable[[Rollout], None]) -> None:
        task = task_of_instruction(instruction).name
        with self._open_world() as world:
            planner = ExpertPlanner(
                task=task,
                expert=make_expert(task, self._site),
                world=world,
                inputs=self._inputs,
                clock=self.system_clock,
            )
            drive(
                Rollout(
                    source=SOURCE,
                    planner=planner,
                    inputs=self._inputs,
                    send=lambda chunk: self._chunks.publish(message_from_chunk(chunk)),
                    next_sequence=self._sequence.__next__,
                    clock=self.system_clock,
                )
            )

    def _open_world(self) -> WorldClient:
        return WorldClient(self.params.world_host, self.params.world_port)

    def _publish_diagnostics(self) -> None:
        status = inputs_diagnostic(self._inputs.missing(), busy=self._server.busy)
        self._diagnostics.publish(diagnostic_array(status, stamp_ns=self.system_clock.now_ns()))


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(ScriptedPolicyNode)
