"""A node for tests: waits for conditions, never for time."""

import time
from collections.abc import Callable
from typing import Any, Self

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mola_nodes.graph import Topic

WATCHDOG_S = 60.0


class Probe:
    def __enter__(self) -> Self:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def wait(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = WATCHDOG_S) -> Any:
        """Spin until ``condition()`` is true; returns its value. ``what`` names it, as it is found when the wait is given up."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"gave up waiting for {what() if callable(what) else what}"
            self._executor.spin_once(0.05)
        return value

    def collect(self, topic: Topic) -> list[Any]:
        """Messages of ``topic`` from now on, newest last."""
        messages: list[Any] = []
        self.node.create_subscription(topic.type, topic.name, messages.append, topic.qos)
        return messages

    def publisher(self, topic: Topic, *, readers: int = 1) -> Any:
        """A publisher that has found ``readers`` subscriptions."""
        publisher = self.node.create_publisher(topic.type, topic.name, topic.qos)
        self.wait(lambda: publisher.get_subscription_count() >= readers, f"a reader of {topic.name}")
        return publisher

    def call(self, service_type: type, name: str, request: Any) -> Any:
        client = self.node.create_client(service_type, name)
        self.wait(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.wait(future.done, f"an answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def transition(self, node: str, transition_id: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition_id))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str) -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)
