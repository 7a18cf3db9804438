"""Signs of life: a beat that cannot be described ends the process by name, instead of a silence that nobody explains."""

import queue
from types import SimpleNamespace
from typing import Any

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.heartbeat import Heartbeat
from mola_nodes.turns import Troubles

PATIENCE_S = 10.0


class FakeNode:
    def __init__(self) -> None:
        self.beats = queue.Queue[int]()

    def create_publisher(self, *_: object) -> SimpleNamespace:
        return SimpleNamespace(publish=lambda message: self.beats.put(message.sequence))

    def get_fully_qualified_name(self) -> str:
        return "/mola/controller"


def test_a_beat_that_fails_is_told_as_a_bug_and_one_that_is_refused_is_followed_by_the_next() -> None:
    node: Any = FakeNode()
    refused, bugs = queue.Queue[MolaError](), queue.Queue[BaseException]()
    errors: list[Exception | None] = [None, MolaError("not now"), None, IndexError("a bug")]

    def describe() -> tuple[int, str]:
        error = errors.pop(0)
        if error is not None:
            raise error
        return 3, ""

    heart = Heartbeat(
        node,
        topic=graph.HEARTBEAT,
        rate_hz=200.0,
        clock=SystemClock(),
        describe=describe,
        troubles=Troubles(refused=refused.put, bug=bugs.put),
    )
    with heart:
        bug = bugs.get(timeout=PATIENCE_S)
    assert (str(refused.get_nowait()), str(bug)) == ("not now", "a bug")
    assert [node.beats.get_nowait() for _ in range(2)] == [1, 2]
    assert node.beats.empty()
