"""An operator without hands: watches a running graph, resumes the arm, runs the policy on instructions.

Lives in the process of the demo, the fault table or a test, beside the graph, and talks to it over DDS only.
"""

import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import rclpy
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import LatencyReport, ServoStatus
from mola_interfaces.srv import Resume, Stop
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.listener import Listener

_POLL_NS = 20 * NS_PER_MS
_ASK_AGAIN_NS = NS_PER_S


class OperatorClient:
    """Use as a context manager; a thread of its own spins the node."""

    def __init__(self, *, name: str = "operator", clock: Clock | None = None) -> None:
        self._name = name
        self._clock = clock or SystemClock()
        self._context = Context()
        self._done = threading.Event()
        self.servo_status: ServoStatus | None = None
        self.latency_reports: list[LatencyReport] = []
        self.servo_statuses: list[ServoStatus] = []

    def __enter__(self) -> Self:
        rclpy.init(context=self._context)
        self.node = Node(self._name, namespace=graph.NAMESPACE, context=self._context)
        self._stack = ExitStack()
        self._listener = self._stack.enter_context(Listener(self.node, on_bug=_print))
        self.subscribe(graph.SERVO_STATUS, self._on_servo_status)
        self.subscribe(graph.LATENCY, self.latency_reports.append)
        self._resume = self._client(graph.RESUME)
        self._stop = self._client(graph.STOP)
        self._all_active = self._client(graph.ALL_ACTIVE)
        self._run_policy = ActionClient(self.node, graph.RUN_POLICY.type, graph.RUN_POLICY.name)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="operator", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._stack.close()
        self._run_policy.destroy()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def subscribe(self, topic: graph.Topic, callback: Callable[[Any], object]) -> None:
        """Call ``callback`` with every message of ``topic``, in the listening thread."""
        self._listener.subscribe(topic, lambda message, _sent_ns: callback(message), self._stack)

    def wait_active(self, *, timeout_s: float) -> None:
        """Until every managed node is active.

        Raises:
            MolaError: not within ``timeout_s``; says which nodes are not, and why.
        """
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS_PER_S)
        self._wait(self._all_active.service_is_ready, "the lifecycle manager", deadline_ns)
        while True:
            try:
                answer = self._call(self._all_active, Trigger.Request(), timeout_s=2.0)
            except MolaError as error:  # a manager that was just killed takes the question along
                message = str(error)
            else:
                if answer.success:
                    return
                message = answer.message
            if self._clock.monotonic_ns() > deadline_ns:
                raise MolaError(f"the graph did not come up within {timeout_s:g} s: {message}")
            self._clock.sleep_until(self._clock.monotonic_ns() + 5 * _POLL_NS)

    def resume(self, *, timeout_s: float = 20.0) -> None:
        """Let the arm move again and wait until it is engaged.

        Raises:
            MolaError: the controller refuses or does not engage; says why.
        """
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS_PER_S)
        self._wait(self._resume.service_is_ready, "the controller", deadline_ns)
        while not self._engaged():
            # the first request may only reconnect the arm or unlock it; it is asked again, as a person would
            answer = self._call(self._resume, Resume.Request(operator_name=self._name), timeout_s=timeout_s)
            again_ns = self._clock.monotonic_ns() + _ASK_AGAIN_NS
            while not self._engaged() and self._clock.monotonic_ns() < again_ns:
                self._clock.sleep_until(self._clock.monotonic_ns() + _POLL_NS)
            if self._clock.monotonic_ns() > deadline_ns:
                reason = self.servo_status.reason if self.servo_status is not None else "no servo_status"
                raise MolaError(f"the arm does not engage within {timeout_s:g} s: {answer.message} ({reason})")

    def stop(self, *, reason: str, timeout_s: float = 5.0) -> None:
        """Brake the arm and latch."""
        answer = self._call(self._stop, Stop.Request(reason=reason), timeout_s=timeout_s)
        if not answer.success:
            raise MolaError(f"the controller does not stop: {answer.message}")

    def run(self, instruction: str, *, time_limit_s: float) -> "PolicyRun":
        """Send the instruction to the policy; the run goes on in the background.

        Raises:
            MolaError: no policy is there, or it refuses the instruction.
        """
        deadline_ns = self._clock.monotonic_ns() + 10 * NS_PER_S
        self._wait(self._run_policy.server_is_ready, "the policy", deadline_ns)
        goal = RunPolicy.Goal(instruction=instruction)
        goal.time_limit.sec = int(time_limit_s)
        handle: ClientGoalHandle = self._result(self._run_policy.send_goal_async(goal), timeout_s=10.0)
        if not handle.accepted:
            raise MolaError(f"the policy refuses the instruction {instruction!r}; its log says why")
        return PolicyRun(handle=handle, operator=self, time_limit_s=time_limit_s)

    def call(self, service: graph.Service, request: Any, *, timeout_s: float = 10.0) -> Any:
        """Ask a service of the graph; its response.

        Raises:
            MolaError: nobody serves it, or no answer comes in time.
        """
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS_PER_S)
        client = self._client(service)
        try:
            self._wait(client.service_is_ready, f"the service {service.name}", deadline_ns)
            return self._call(client, request, timeout_s=timeout_s)
        finally:
            self.node.destroy_client(client)

    def wait_for(self, condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        """Poll ``condition``; MolaError naming ``what`` if it does not come true within ``timeout_s``."""
        self._wait(condition, what, self._clock.monotonic_ns() + round(timeout_s * NS_PER_S))

    def wait_result(self, future: Future, *, timeout_s: float) -> Any:
        """Result of a future that the spinning thread completes."""
        return self._result(future, timeout_s=timeout_s)

    def _engaged(self) -> bool:
        return self.servo_status is not None and self.servo_status.state in {
            ServoStatus.HOLDING,
            ServoStatus.EXECUTING,
        }

    def _on_servo_status(self, message: ServoStatus) -> None:
        self.servo_status = message
        self.servo_statuses.append(message)

    def _client(self, service: graph.Service) -> Client:
        return self.node.create_client(service.type, service.name)

    def _call(self, client: Client, request: Any, *, timeout_s: float) -> Any:
        return self._result(client.call_async(request), timeout_s=timeout_s)

    def _result(self, future: Future, *, timeout_s: float) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            raise MolaError(f"no answer from the graph within {timeout_s:g} s; is it still running?")
        return future.result()

    def _wait(self, condition: Callable[[], bool], what: str, deadline_ns: int) -> None:
        while not condition():
            if self._clock.monotonic_ns() > deadline_ns:
                status = self.servo_status
                why = f" (servo: {status.reason})" if status is not None and status.reason else ""
                raise MolaError(f"gave up waiting for {what}{why}")
            self._clock.sleep_until(self._clock.monotonic_ns() + _POLL_NS)

    def _spin(self) -> None:
        while not self._done.is_set():
            self._executor.spin_once(timeout_sec=0.1)


def _print(error: BaseException) -> None:
    traceback.print_exception(error)


class PolicyRun:
    """One instruction being executed."""

    def __init__(self, *, handle: ClientGoalHandle, operator: OperatorClient, time_limit_s: float) -> None:
        self._handle = handle
        self._operator = operator
        self._result_future = handle.get_result_async()
        self._time_limit_s = time_limit_s

    @property
    def done(self) -> bool:
        return self._result_future.done()

    def cancel(self) -> None:
        """Ask the policy to end; it brings the arm to rest."""
        self._operator.wait_result(self._handle.cancel_goal_async(), timeout_s=10.0)

    def result(self) -> RunPolicy.Result:
        """Wait for the end of the run."""
        wrapped: Any = self._operator.wait_result(self._result_future, timeout_s=self._time_limit_s + 20.0)
        result: RunPolicy.Result = wrapped.result
        return result

    def abandon(self) -> None:
        """Ask for the end without waiting; the policy may be dead."""
        self._handle.cancel_goal_async()
