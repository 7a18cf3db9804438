"""What every managed node gives its threads and services: a log that does not flood, a way for bugs, callbacks in turn or beside."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import rclpy

from mola_core.contracts.clock import NS_PER_S, FakeClock
from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.graph import Service
from mola_nodes.lifecycle import MolaNode
from mola_nodes.process import Ending

PATIENCE_S = 10.0


@dataclass(frozen=True)
class NoParams:
    """None."""


class SteppedClock(FakeClock):
    """Goes on only when told to; who sleeps is let go a little later."""

    def sleep_until(self, deadline_ns: int) -> None:
        threading.Event().wait(0.05)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def node(clock: SteppedClock) -> Iterator[MolaNode[NoParams]]:
    rclpy.init()
    node = MolaNode[NoParams]("bare", params_type=NoParams, ending=Ending(), clock=clock)
    yield node
    node.close()
    node.destroy_node()
    rclpy.shutdown()


def test_what_is_refused_is_logged_once_in_two_seconds_for_each_thread(
    node: MolaNode[NoParams], clock: SteppedClock, capfd: pytest.CaptureFixture[str]
) -> None:
    wrist, imagination = node.troubles("wrist"), node.troubles("imagination")
    for _ in range(3):
        wrist.refused(MolaError("image is 'bgr8'"))
        imagination.refused(MolaError("camera wrist: image is 'bgr8'"))
    clock.advance(2 * NS_PER_S)
    wrist.refused(MolaError("image is 'mono8'"))
    lines = [line.partition("]: ")[2] for line in capfd.readouterr().err.splitlines()]
    assert [line for line in lines if "image is" in line] == [
        "wrist: image is 'bgr8'",
        "imagination: camera wrist: image is 'bgr8'",
        "wrist: image is 'mono8'",
    ]
    assert not node.ending.requested


def test_a_bug_is_logged_with_its_trace_and_ends_the_process(
    node: MolaNode[NoParams], capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        [].pop()
    except IndexError as error:
        node.troubles("shadow").bug(error)
    assert (node.ending.requested, node.ending.exit_code) == (True, 1)
    log = capfd.readouterr().err
    assert "IndexError: pop from empty list" in log
    assert "[].pop()" in log


def test_an_unhurried_service_does_not_wait_for_other_callbacks_and_others_do(node: MolaNode[NoParams]) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(_request: Any, response: Any) -> Any:
        begun.set()
        gate.wait(PATIENCE_S)
        return response

    with ExitStack() as stack:
        node.open_service(graph.LOAD_ENGINE, slow, stack)
        node.open_service(graph.PROMOTE_ENGINE, lambda _request, response: response, stack)
        node.open_unhurried_service(graph.LIST_ENGINES, lambda _request, response: response, stack)
        loaded = _called(callback_of(node, graph.LOAD_ENGINE))
        assert begun.wait(PATIENCE_S)
        promoted = _called(callback_of(node, graph.PROMOTE_ENGINE))
        assert _called(callback_of(node, graph.LIST_ENGINES)).wait(PATIENCE_S)
        assert not promoted.is_set()
        gate.set()
        assert loaded.wait(PATIENCE_S)
        assert promoted.wait(PATIENCE_S)


def callback_of(node: MolaNode[NoParams], service: Service) -> Callable[[Any, Any], Any]:
    """What the executor would call for a request."""
    (callback,) = (found.callback for found in node.services if found.srv_name == service.name)
    return callback


def _called(callback: Callable[[Any, Any], Any]) -> threading.Event:
    """Set once ``callback``, called in a thread of its own, has returned."""
    returned = threading.Event()

    def call() -> None:
        callback(None, None)
        returned.set()

    threading.Thread(target=call, daemon=True).start()
    return returned
