"""The base of all managed nodes: transitions that cannot kill the process and resources that cannot leak.

A node acquires what it needs in :meth:`MolaNode.configure` and :meth:`MolaNode.activate` and hands it to the stack it
is given; leaving the state closes the stack, in reverse order, also when the transition fails half-way.
"""

import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Generic

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher

from mola_core.contracts.clock import Clock, SystemClock
from mola_core.contracts.errors import MolaError
from mola_core.control.realtime import settle_garbage_collector
from mola_nodes.graph import NAMESPACE, NODE_HEARTBEATS, Service, Topic
from mola_nodes.heartbeat import Heartbeat
from mola_nodes.listener import Listener
from mola_nodes.params import ParamsT, load_params
from mola_nodes.process import Ending
from mola_nodes.turns import Troubles, log_of_refused

RCLError = rclpy_implementation.RCLError

_HEARTBEAT_HZ = 20.0


class MolaNode(LifecycleNode, Generic[ParamsT]):
    """A managed node with typed parameters and a heartbeat.

    Messages come in a thread of their own, timers and services in the executor's; callbacks are nevertheless called one at a time.
    """

    def __init__(self, name: str, *, params_type: type[ParamsT], ending: Ending, clock: Clock | None = None) -> None:
        """Declare the parameters and start to beat.

        Raises:
            ConfigError: an unknown, missing or impossible parameter.
        """
        super().__init__(name, namespace=NAMESPACE)
        self.params: ParamsT = load_params(self, params_type, overrides=self._parameter_overrides)
        self.system_clock: Clock = clock or SystemClock()
        self.ending = ending
        self._problem = ""
        self._configured, self._active, self._alive = ExitStack(), ExitStack(), ExitStack()
        self._service_change_state.callback = self._refuse_illegal(self._service_change_state.callback)
        self._turn = threading.Lock()
        self._listener = self._alive.enter_context(Listener(self, on_bug=self.report_bug))
        self._alive.enter_context(
            Heartbeat(
                self,
                topic=NODE_HEARTBEATS,
                rate_hz=_HEARTBEAT_HZ,
                clock=self.system_clock,
                describe=lambda: (self._state_machine.current_state[0], self._problem),
                troubles=self.troubles(NODE_HEARTBEATS.name),
            )
        )

    def configure(self, stack: ExitStack) -> None:
        """Read the site, open endpoints, connect devices; nothing may move.

        Raises:
            MolaError: it cannot be done; the node stays unconfigured.
        """

    def activate(self, stack: ExitStack) -> None:
        """Start to act and to publish.

        Raises:
            MolaError: it cannot be done; the node stays inactive.
        """

    def open_publisher(self, topic: Topic, stack: ExitStack) -> Publisher:
        """Publisher that is destroyed with ``stack``."""
        publisher = self.create_publisher(topic.type, topic.name, topic.qos)
        stack.callback(self.destroy_publisher, publisher)
        return publisher

    def open_subscription(self, topic: Topic, callback: Callable[[Any], None], stack: ExitStack) -> None:
        """Subscription that is destroyed with ``stack``; a message that is refused is logged, not fatal."""
        self.open_stamped_subscription(topic, lambda message, _sent_ns: callback(message), stack)

    def open_urgent_subscription(self, topic: Topic, callback: Callable[[Any], None], stack: ExitStack) -> None:
        """The same in a thread of its own, which waits for none of the other callbacks: it has to be called beside them."""
        listener = stack.enter_context(Listener(self, on_bug=self.report_bug))
        listener.subscribe(topic, self._guarded(topic, lambda message, _sent_ns: callback(message)), stack)

    def open_stamped_subscription(self, topic: Topic, callback: Callable[[Any, int], None], stack: ExitStack) -> None:
        """The same, with the stamp at which the message was sent, as DDS says."""

        def in_turn(message: Any, sent_ns: int) -> None:
            with self._turn:
                callback(message, sent_ns)

        self._listener.subscribe(topic, self._guarded(topic, in_turn), stack)

    def open_service(self, service: Service, callback: Callable[[Any, Any], Any], stack: ExitStack) -> None:
        """Service that is destroyed with ``stack``; an error becomes the ``message`` of an unsuccessful response."""

        def in_turn(request: Any, response: Any) -> Any:
            with self._turn:
                return callback(request, response)

        self.open_unhurried_service(service, in_turn, stack)

    def open_unhurried_service(self, service: Service, callback: Callable[[Any, Any], Any], stack: ExitStack) -> None:
        """The same, called beside the callbacks of messages: it may take its time, and must not change what they change."""

        def guarded(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except MolaError as error:
                self.get_logger().error(f"{service.name}: {error}")
                response.success, response.message = False, str(error)
                return response

        server = self.create_service(service.type, service.name, guarded)
        stack.callback(self.destroy_service, server)

    def open_timer(self, period_s: float, callback: Callable[[], None], stack: ExitStack) -> None:
        """Timer that is destroyed with ``stack``."""

        def guarded() -> None:
            with self._turn:
                callback()

        timer = self.create_timer(period_s, guarded)
        stack.callback(self.destroy_timer, timer)

    def troubles(self, what: str) -> Troubles:
        """For a thread of this node: what is refused is logged as of ``what``, every two seconds at most; a bug ends the process."""
        refused = log_of_refused(what, warn=self.get_logger().warning, clock=self.system_clock)
        return Troubles(refused=refused, bug=self.report_bug)

    def report_bug(self, error: BaseException) -> None:
        """No input explains this: its trace goes to the log, and the process ends, so that a fresh one can start."""
        self.get_logger().fatal("".join(traceback.format_exception(error)))
        self.ending.request(exit_code=1)

    def close(self) -> None:
        """Leave every state; called when the process ends."""
        self._release()
        self._alive.close()

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Unconfigured -> inactive."""
        return self._attempt("configure", self.configure, self._configured)

    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive -> active."""
        return self._attempt("activate", self.activate, self._active)

    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Active -> inactive."""
        self._leave(self._active)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive -> unconfigured."""
        self._leave(self._configured)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Any state -> finalized: the process ends, since nothing leads out of there."""
        self._release()
        self.ending.request()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """A bug surfaced in a transition: back to unconfigured, holding nothing."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _attempt(self, verb: str, hook: Callable[[ExitStack], None], stack: ExitStack) -> TransitionCallbackReturn:
        try:
            with self._turn:  # nothing is called back before the node is ready for it
                hook(stack)
        except MolaError as error:
            self._problem = f"cannot {verb}: {error}"
            self.get_logger().error(self._problem)
            self._leave(stack)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # noqa: BLE001 (rclpy would swallow it; the trace is what finds the bug)
            self._problem = f"bug in {verb}: {type(error).__name__}: {error}"
            self.get_logger().error(f"{self._problem}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        self._problem = ""
        settle_garbage_collector()
        return TransitionCallbackReturn.SUCCESS

    def _guarded(self, topic: Topic, callback: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        refused = self.troubles(topic.name).refused

        def guarded(message: Any, sent_ns: int) -> None:
            try:
                callback(message, sent_ns)
            except MolaError as error:
                refused(error)

        return guarded

    def _leave(self, stack: ExitStack) -> None:
        try:
            stack.close()
        except MolaError as error:
            self.get_logger().error(str(error))

    def _release(self) -> None:
        self._leave(self._active)
        self._leave(self._configured)

    def _refuse_illegal(self, change_state: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Without it, rclpy lets the error of an illegal request out of ``spin``, which ends the process."""

        def guarded(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            try:
                return change_state(request, response)
            except RCLError:
                state = self._state_machine.current_state[1]
                wanted = request.transition.label or request.transition.id
                self.get_logger().warning(f"transition {wanted!r} is not possible while {state}; nothing changed")
                response.success = False
                return response

        return guarded
