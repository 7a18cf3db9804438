"""Brings the graph up in order and down in reverse, notices the dead, and beats the heart of the system."""

import threading
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, NoReturn

from mola_interfaces.msg import NodeHeartbeat
from rclpy.node import Node
from std_srvs.srv import Trigger

from mola_core.contracts.clock import SystemClock
from mola_nodes import graph
from mola_nodes.diagnostics import ERROR, OK, diagnostic_array, diagnostic_status
from mola_nodes.heard_nodes import HeardNodes, watches_of
from mola_nodes.heartbeat import Heartbeat
from mola_nodes.listener import Listener
from mola_nodes.params import Param, load_params
from mola_nodes.process import Ending, run_node
from mola_nodes.supervision import Supervision
from mola_nodes.transitions import TransitionDriver
from mola_nodes.turns import Troubles, log_of_refused

_BEAT_HZ = 50.0
_LOOK_S = 0.1
_SPIN_S = 0.05


@dataclass(frozen=True)
class LifecycleManagerParams:
    """Parameters of the lifecycle manager."""

    managed_nodes: Annotated[
        list[str],
        Param("Names of the nodes in the order of bring-up, in the manager's own namespace unless they begin with /"),
    ]
    node_timeout_ms: Annotated[
        int, Param("Silence after which a node counts as dead", unit="ms", minimum=200, maximum=10_000)
    ] = 500
    bring_up_timeout_s: Annotated[
        float,
        Param("End when not all nodes are active after this time; 0 keeps trying", unit="s", minimum=0, maximum=600),
    ] = 0.0


class LifecycleManagerNode(Node):
    """Supervises in a thread of its own; the executor takes heartbeats and answers meanwhile."""

    def __init__(self, ending: Ending) -> None:
        """Start to beat and to supervise."""
        super().__init__(graph.LIFECYCLE_MANAGER, namespace=graph.NAMESPACE)
        clock = SystemClock()
        params = load_params(self, LifecycleManagerParams, overrides=self._parameter_overrides)
        self._watches = watches_of(
            params.managed_nodes, namespace=self.get_namespace(), timeout_ms=params.node_timeout_ms
        )
        self._heard = HeardNodes(self._watches, clock=clock, warn=self.get_logger().warning)
        self._system_clock = clock
        transitions = TransitionDriver(self, self._watches.values(), clock=clock, cancelled=self._interrupted)
        self._supervision = Supervision(
            tuple(self._watches.values()),
            transitions=transitions,
            clock=clock,
            log=self.get_logger(),
            ending=ending,
            bring_up_timeout_s=params.bring_up_timeout_s,
        )
        self._ending, self._tearing_down = ending, False
        diagnostics, heartbeats = graph.DIAGNOSTICS, graph.NODE_HEARTBEATS
        self._diagnostics = self.create_publisher(diagnostics.type, diagnostics.name, diagnostics.qos)
        self._turn, self._stack = threading.Lock(), ExitStack()
        listener = self._stack.enter_context(Listener(self, on_bug=self._on_bug))
        listener.subscribe(heartbeats, self._on_heartbeat, self._stack)
        self.create_service(graph.ALL_ACTIVE.type, graph.ALL_ACTIVE.name, self._on_all_active)
        self.create_timer(1.0, self._publish_diagnostics)
        self.create_timer(_LOOK_S, self._notice_deaths)
        self._heart = Heartbeat(
            self,
            topic=graph.HEARTBEAT,
            rate_hz=_BEAT_HZ,
            clock=clock,
            describe=lambda: (0, ""),
            troubles=Troubles(
                refused=log_of_refused("heartbeat", warn=self.get_logger().warning, clock=clock), bug=self._on_bug
            ),
        )
        self._heart.__enter__()
        self._supervisor = threading.Thread(target=self._supervision.run, name="supervisor", daemon=True)
        self._supervisor.start()

    def close(self) -> None:
        """Take the nodes down in reverse order while the heart still beats; then stop it."""
        self._ending.request()
        self._supervisor.join()
        self._tearing_down = True
        tear_down = threading.Thread(target=self._supervision.tear_down, name="tear down", daemon=True)
        tear_down.start()
        while tear_down.is_alive():
            self.executor.spin_once(_SPIN_S)
        self._heart.__exit__(None, None, None)
        self._stack.close()

    def _interrupted(self) -> bool:
        return self._ending.requested and not self._tearing_down

    def _on_bug(self, error: BaseException) -> None:
        self.get_logger().fatal("".join(traceback.format_exception(error)))
        self._ending.request(exit_code=1)

    def _notice_deaths(self) -> None:
        with self._turn:
            self._supervision.notice_deaths()

    def _on_heartbeat(self, message: NodeHeartbeat, _sent_ns: int) -> None:
        with self._turn:
            self._heard.note(message)

    def _on_all_active(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        missing = self._supervision.missing()
        response.success, response.message = not missing, missing or "all nodes are active"
        return response

    def _publish_diagnostics(self) -> None:
        statuses = (
            diagnostic_status(
                name=f"lifecycle: {watch.name}",
                level=OK if watch.is_up else ERROR,
                message=watch.describe(),
                values={"pid": watch.pid, "state": watch.state},
            )
            for watch in self._watches.values()
        )
        self._diagnostics.publish(diagnostic_array(*statuses, stamp_ns=self._system_clock.now_ns()))


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(LifecycleManagerNode)
