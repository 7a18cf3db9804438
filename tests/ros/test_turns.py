"""Threads of a node: what a turn refuses is told and the next is taken; a bug is told; nobody waits for a turn that hangs."""

import queue
import threading

import pytest

from mola_core.contracts.errors import MolaError
from mola_nodes.turns import LeftBehindError, Troubles, TurnThread

PATIENCE_S = 10.0


class Told:
    """What the thread told its node."""

    def __init__(self) -> None:
        self.refused, self.bugs = queue.Queue[MolaError](), queue.Queue[BaseException]()
        self.troubles = Troubles(refused=self.refused.put, bug=self.bugs.put)


@pytest.fixture
def told() -> Told:
    return Told()


def test_what_is_refused_is_told_and_the_next_turn_is_taken(told: Told) -> None:
    turns = queue.Queue[Exception | None]()
    taken = queue.Queue[None]()

    def turn() -> None:
        error = turns.get()
        if error is not None:
            raise error
        taken.put(None)

    with TurnThread(turn, name="test", troubles=told.troubles) as thread:
        refused = MolaError("image is 'bgr8'")
        turns.put(refused)
        turns.put(None)
        assert told.refused.get(timeout=PATIENCE_S) is refused
        taken.get(timeout=PATIENCE_S)
        thread.stopping.set()
        turns.put(None)
    assert told.bugs.empty()


@pytest.mark.parametrize("error", [ValueError("a shape that nobody expected"), SystemExit(3)])
def test_anything_else_is_told_as_a_bug(told: Told, error: BaseException) -> None:
    def turn() -> None:
        raise error

    with TurnThread(turn, name="test", troubles=told.troubles):
        assert told.bugs.get(timeout=PATIENCE_S) is error
    assert told.refused.empty()


def test_a_turn_that_hangs_is_left_behind_and_what_becomes_of_it_is_no_bug(told: Told) -> None:
    begun, gate, over = threading.Event(), threading.Event(), threading.Event()

    def turn() -> None:
        begun.set()
        gate.wait()
        over.set()
        raise RuntimeError("the publisher is gone")

    with TurnThread(turn, name="shadow", troubles=told.troubles, leave_s=0.02):
        assert begun.wait(PATIENCE_S)
    left = told.refused.get(timeout=PATIENCE_S)
    assert isinstance(left, LeftBehindError)
    assert "thread 'shadow' has not come back from its turn within 0.02 s" in str(left)
    gate.set()
    assert over.wait(PATIENCE_S)
    with pytest.raises(queue.Empty):
        told.bugs.get(timeout=0.1)
