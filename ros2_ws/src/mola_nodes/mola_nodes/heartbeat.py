"""Signs of life from a thread of their own, so that a busy executor does not look like a dead node."""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mola_interfaces.msg import NodeHeartbeat
from rclpy.node import Node

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.graph import Topic


class Heartbeat:
    """Publishes a :class:`NodeHeartbeat` on ``topic`` at ``rate_hz`` while entered.

    ``describe`` gives the lifecycle state id and the problem to report; it is called from the heartbeat's thread.
    """

    def __init__(
        self, node: Node, *, topic: Topic, rate_hz: float, clock: Clock, describe: Callable[[], tuple[int, str]]
    ) -> None:
        self._node = node
        self._topic = topic
        self._period_ns = round(NS_PER_S / rate_hz)
        self._clock = clock
        self._describe = describe
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def _run(self) -> None:
        publisher = self._node.create_publisher(self._topic.type, self._topic.name, self._topic.qos)
        message = NodeHeartbeat(
            version=NodeHeartbeat.VERSION, node=self._node.get_fully_qualified_name(), pid=os.getpid()
        )
        deadline_ns = self._clock.monotonic_ns()
        while not self._stop.is_set():
            message.stamp = time_from_ns(self._clock.now_ns())
            message.sequence += 1
            message.state, message.problem = self._describe()
            publisher.publish(message)
            # a late beat is not made up for by a burst: what counts is the silence between two
            deadline_ns = max(deadline_ns + self._period_ns, self._clock.monotonic_ns())
            self._clock.sleep_until(deadline_ns)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
