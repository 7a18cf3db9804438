"""Signs of life from a thread of their own, so that a busy executor does not look like a dead node."""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mola_interfaces.msg import NodeHeartbeat
from rclpy.node import Node

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.graph import Topic
from mola_nodes.turns import Troubles, TurnThread


class Heartbeat:
    """Publishes a :class:`NodeHeartbeat` on ``topic`` at ``rate_hz`` while entered.

    ``describe`` gives the lifecycle state id and the problem to report; it is called from the heartbeat's thread.
    """

    def __init__(
        self,
        node: Node,
        *,
        topic: Topic,
        rate_hz: float,
        clock: Clock,
        describe: Callable[[], tuple[int, str]],
        troubles: Troubles,
    ) -> None:
        self._node = node
        self._topic = topic
        self._period_ns = round(NS_PER_S / rate_hz)
        self._clock = clock
        self._describe = describe
        self._message = NodeHeartbeat(version=NodeHeartbeat.VERSION, pid=os.getpid())
        self._deadline_ns = 0
        self._thread = TurnThread(self._wait_and_beat, name="heartbeat", troubles=troubles)

    def _wait_and_beat(self) -> None:
        self._clock.sleep_until(self._deadline_ns)
        # a late beat is not made up for by a burst: what counts is the silence between two
        self._deadline_ns = max(self._deadline_ns + self._period_ns, self._clock.monotonic_ns())
        self._message.stamp = time_from_ns(self._clock.now_ns())
        self._message.state, self._message.problem = self._describe()
        self._message.sequence += 1
        self._publisher.publish(self._message)

    def __enter__(self) -> Self:
        self._publisher = self._node.create_publisher(self._topic.type, self._topic.name, self._topic.qos)
        self._message.node = self._node.get_fully_qualified_name()
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)
