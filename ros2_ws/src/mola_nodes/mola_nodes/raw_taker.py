"""Raw messages of many topics, taken by a thread of its own past the executor.

rclpy builds its wait set anew from every subscription for every message: with forty topics that costs a recorder more than
writing does. Here the transport's queues are emptied many times a second instead; when a message arrived is what the transport
says, so that nothing is stamped later for it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from mola_nodes.graph import Topic
from mola_nodes.turns import Troubles, TurnThread

PERIOD_S = 0.004

OnRaw = Callable[[bytes, dict[str, int]], None]


class NeverByExecutor(CallbackGroup):
    """The executor leaves its members out of what it waits for."""

    def can_execute(self, _entity: Any) -> bool:
        return False

    def beginning_execution(self, _entity: Any) -> bool:
        return False

    def ending_execution(self, _entity: Any) -> None:
        pass


class RawTaker:
    """Calls back from its own thread while entered; subscriptions are made before."""

    def __init__(self, node: Node, *, troubles: Troubles) -> None:
        self._node = node
        self._group = NeverByExecutor()
        self._subscriptions: list[tuple[Any, OnRaw]] = []
        self._thread = TurnThread(self._wait_and_take, name="raw taker", troubles=troubles)

    def subscribe(self, topic: Topic, callback: OnRaw, stack: ExitStack) -> None:
        """Hand every message of ``topic`` to ``callback``: its bytes, and what the transport says of it."""
        subscription = self._node.create_subscription(
            topic.type, topic.name, callback, topic.qos, callback_group=self._group, raw=True
        )
        stack.callback(self._node.destroy_subscription, subscription)
        self._subscriptions.append((subscription, callback))

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)

    def _wait_and_take(self) -> None:
        if self._thread.stopping.wait(PERIOD_S):
            return
        for subscription, callback in self._subscriptions:
            with subscription.handle:
                while (taken := subscription.handle.take_message(subscription.msg_type, subscription.raw)) is not None:
                    callback(*taken)
