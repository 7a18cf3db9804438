"""Messages of a node's subscriptions, taken by a thread of its own past the executor.

rclpy's executor builds its wait set anew from every entity of the node (services, timers, events of publishers) for every single
message, which costs ten times what our callbacks do. Here the wait set holds the subscriptions alone.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

from mola_core.contracts.clock import NS_PER_S
from mola_nodes.graph import Topic
from mola_nodes.raw_taker import NeverByExecutor

_LOOK_NS = NS_PER_S // 4
"""Longest wait; a context that is shut down wakes nobody."""

OnMessage = Callable[[Any, int], object]
"""(message, stamp at which it was sent, as the transport says)."""


class Listener:
    """Hears while entered; one callback at a time, in the order in which the subscriptions were made."""

    def __init__(self, node: Node, *, on_bug: Callable[[BaseException], None]) -> None:
        """``on_bug`` is told what a callback raised, in the listening thread, which then ends."""
        self._node = node
        self._on_bug = on_bug
        self._group = NeverByExecutor()
        self._wake = GuardCondition(callback=None, callback_group=None, context=node.context)
        self._changed = threading.Condition()
        self._heard: list[tuple[Subscription, OnMessage]] = []
        self._wanted, self._used = 0, 0
        """Versions of the list: the newest, and the one that the thread works with."""
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def subscribe(self, topic: Topic, callback: OnMessage, stack: ExitStack) -> None:
        """Hand over every message of ``topic`` until ``stack`` closes."""
        subscription = self._node.create_subscription(
            topic.type, topic.name, _never, topic.qos, callback_group=self._group
        )
        stack.callback(self._forget, subscription)
        with self._changed:
            self._heard.append((subscription, callback))
            self._wanted += 1
        self._wake.trigger()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stop = True
        self._wake.trigger()
        self._thread.join()
        self._wake.destroy()

    def _forget(self, subscription: Subscription) -> None:
        """Once this has returned, nobody waits for it or calls back any more."""
        with self._changed:
            self._heard = [heard for heard in self._heard if heard[0] is not subscription]
            self._wanted += 1
            wanted = self._wanted
        self._wake.trigger()
        with self._changed:
            self._changed.wait_for(lambda: self._used >= wanted or not self._thread.is_alive())
        self._node.destroy_subscription(subscription)

    def _run(self) -> None:
        try:
            while not self._stop:
                with self._changed:
                    heard, self._used = tuple(self._heard), self._wanted
                    self._changed.notify_all()
                self._listen(heard)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the node has gone deaf and must not live on
            self._on_bug(error)
        finally:
            with self._changed:
                self._used = self._wanted
                self._changed.notify_all()

    def _listen(self, heard: tuple[tuple[Subscription, OnMessage], ...]) -> None:
        """Until the list of subscriptions changes."""
        waiting = rclpy_implementation.WaitSet(len(heard), 1, 0, 0, 0, 0, self._node.context.handle)
        while self._used == self._wanted and not self._stop:
            waiting.clear_entities()
            waiting.add_guard_condition(self._wake.handle)
            for subscription, _ in heard:
                waiting.add_subscription(subscription.handle)
            waiting.wait(_LOOK_NS)
            ready = waiting.get_ready_entities("subscription")
            for subscription, callback in heard:
                if subscription.handle.pointer in ready:
                    self._take(subscription, callback)

    def _take(self, subscription: Subscription, callback: OnMessage) -> None:
        while self._used == self._wanted:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                return
            callback(taken[0], taken[1]["source_timestamp"])


def _never(_message: object) -> None:
    """What the executor would call."""
