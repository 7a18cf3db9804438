"""Leading other nodes through their lifecycle, from outside."""

from collections.abc import Callable, Iterable, Mapping

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.node import Node

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_nodes.node_watch import ACTIVE, FINALIZED, INACTIVE, UNCONFIGURED, NodeWatch

_POLL_NS = 10 * NS_PER_MS
_RESEND_NS = 1 * NS_PER_S
_SETTLE_NS = 200 * NS_PER_MS

_UP: Mapping[int, tuple[int, int]] = {
    UNCONFIGURED: (Transition.TRANSITION_CONFIGURE, INACTIVE),
    INACTIVE: (Transition.TRANSITION_ACTIVATE, ACTIVE),
}
_DOWN: Mapping[int, tuple[int, int]] = {
    ACTIVE: (Transition.TRANSITION_DEACTIVATE, INACTIVE),
    INACTIVE: (Transition.TRANSITION_CLEANUP, UNCONFIGURED),
    UNCONFIGURED: (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, FINALIZED),
}


class TransitionDriver:
    """Asks the watched nodes for transitions and waits for them; belongs to one thread, which is not the executor's.

    Success is read off the heartbeats as well as the answers: after the restart of a node, DDS may hold its dead
    predecessor for alive, and a request sent before the new one is matched is lost without a word. So a request that
    had no effect is sent again.
    """

    def __init__(
        self, node: Node, watches: Iterable[NodeWatch], *, clock: Clock, cancelled: Callable[[], bool]
    ) -> None:
        """``cancelled`` is polled while waiting."""
        self._clock = clock
        self._cancelled = cancelled
        self._clients: dict[str, Client] = {
            watch.name: node.create_client(ChangeState, f"{watch.name}/change_state") for watch in watches
        }

    def bring_up(self, watch: NodeWatch, *, timeout_s: float) -> bool:
        """Configure and activate; False when the node refuses, dies or takes longer."""
        return self._lead(watch, steps=_UP, goal=ACTIVE, timeout_s=timeout_s)

    def take_down(self, watch: NodeWatch, *, timeout_s: float) -> bool:
        """Deactivate, clean up and shut down; the node's process ends with it."""
        return self._lead(watch, steps=_DOWN, goal=FINALIZED, timeout_s=timeout_s)

    def _lead(self, watch: NodeWatch, *, steps: Mapping[int, tuple[int, int]], goal: int, timeout_s: float) -> bool:
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS_PER_S)
        state = watch.state
        while state != goal:
            if state not in steps:  # a transition of somebody else's is under way
                if not self._pause(watch, deadline_ns):
                    return False
                state = watch.state
                continue
            transition, target = steps[state]
            if not self._change(watch, transition=transition, start=state, target=target, deadline_ns=deadline_ns):
                return False
            state = target
        return True

    def _change(self, watch: NodeWatch, *, transition: int, start: int, target: int, deadline_ns: int) -> bool:
        client = self._clients[watch.name]
        request = ChangeState.Request(transition=Transition(id=transition))
        future, resend_ns = None, self._clock.monotonic_ns()
        while True:
            now_ns = self._clock.monotonic_ns()
            if future is not None and future.done():
                answer = future.result()
                if answer is not None and answer.success:
                    return True
                self._settle()
                return watch.state == target
            if watch.state == target:
                return True
            if now_ns >= resend_ns and watch.state == start and client.service_is_ready():
                if future is not None:
                    client.remove_pending_request(future)
                future, resend_ns = client.call_async(request), now_ns + _RESEND_NS
            if not self._pause(watch, deadline_ns):
                return target == FINALIZED and not watch.alive

    def _pause(self, watch: NodeWatch, deadline_ns: int) -> bool:
        """Wait a little; False when there is nothing left to wait for."""
        now_ns = self._clock.monotonic_ns()
        if now_ns > deadline_ns or not watch.alive or self._cancelled():
            return False
        self._clock.sleep_until(now_ns + _POLL_NS)
        return True

    def _settle(self) -> None:
        """Let the heartbeat arrive that says what went wrong."""
        self._clock.sleep_until(self._clock.monotonic_ns() + _SETTLE_NS)
