"""Letting go of bundles that do not serve: what the manager makes of it, and how a person knows that it has happened."""

from types import SimpleNamespace
from typing import Any

import pytest
from mola_interfaces.msg import HalfStatus
from std_srvs.srv import Trigger

from mola_core.contracts.errors import MolaError
from mola_core.runtime.slot import SlotReport, Wanted
from mola_core.runtime.swap import HALVES, SwapError, SwapManager
from mola_nodes import graph
from mola_nodes.bundles.client import BundleClient
from mola_nodes.bundles.manager import BundleManager

OLD, NEW, OTHER = "twin/7", "twin/8", "twin/9"


def manager_after_a_swap(wishes: list[Wanted]) -> BundleManager:
    shelf: Any = SimpleNamespace(open=lambda _: None, path_of=lambda _: None)
    manager = BundleManager(
        shelf=shelf, probe=lambda _: None, swap=SwapManager(first_revision=0), on_wish=wishes.append
    )
    manager.begin(OLD)
    manager.swap.stage(NEW)
    for half in HALVES:
        manager.note(half, SlotReport(revision=2, serving=OLD, ready=(OLD, NEW)))
    manager.promote(NEW)
    return manager


def test_what_served_before_is_let_go_and_the_halves_are_told_once() -> None:
    wishes: list[Wanted] = []
    manager = manager_after_a_swap(wishes)
    assert wishes[-1].bundles == (NEW, OLD)
    assert manager.unload() == (OLD,)
    assert wishes[-1].bundles == (NEW,)
    told = len(wishes)
    assert manager.unload() == ()
    assert len(wishes) == told


def test_while_a_bundle_is_being_tried_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    wishes: list[Wanted] = []
    manager = manager_after_a_swap(wishes)
    monkeypatch.setattr(manager, "_trying", OTHER)
    with pytest.raises(SwapError, match=f"{OTHER} is being tried; wait for it"):
        manager.unload()
    assert wishes[-1].bundles == (NEW, OLD)


class FakeOperator:
    """A bundle manager that answers ``message``, and halves that report what ``ready`` says, one report a look."""

    def __init__(self, *, success: bool, message: str, ready: list[dict[str, list[str]]]) -> None:
        self._answer = Trigger.Response(success=success, message=message)
        self._ready = ready
        self._hear: Any = None
        self.subscriptions: list[str] = []

    def subscribe(self, topic: graph.Topic, callback: Any) -> None:
        self.subscriptions.append(topic.name)
        if topic is graph.HALF_STATUS:
            self._hear = callback

    def call(self, service: graph.Service, _request: object, *, timeout_s: float) -> Trigger.Response:
        assert service is graph.UNLOAD_ENGINES
        assert timeout_s > 0
        for half in HALVES:  # said before the wish was heard
            self._hear(HalfStatus(half=half, serving=NEW, ready=[NEW]))
        return self._answer

    def wait_for(self, condition: Any, what: str, *, timeout_s: float) -> None:
        while not condition():
            if not self._ready:
                raise MolaError(f"gave up waiting for {what} after {timeout_s} s")
            for half, ready in self._ready.pop(0).items():
                self._hear(HalfStatus(half=half, serving=NEW, ready=ready))


def test_it_is_done_when_both_halves_say_so() -> None:
    ready = [{"imagination": [NEW], "actor": [NEW, OLD]}, {"actor": [NEW]}]
    operator: Any = FakeOperator(success=True, message=OLD, ready=ready)
    client = BundleClient(operator)
    assert client.unload() == (OLD,)
    assert not ready, "what was said before the request does not count"
    ready += [{half: [NEW] for half in HALVES}]
    client.unload()
    assert operator.subscriptions.count(graph.HALF_STATUS.name) == 1


def test_nothing_to_let_go_of_is_no_error() -> None:
    operator: Any = FakeOperator(success=True, message="", ready=[{half: [NEW] for half in HALVES}])
    assert BundleClient(operator).unload() == ()


@pytest.mark.parametrize(
    ("success", "message", "told"),
    [(False, f"bundle {OTHER} is being tried; wait for it", "being tried"), (True, OLD, "both halves to let go")],
)
def test_a_refusal_and_a_half_that_keeps_it_are_errors(success: bool, message: str, told: str) -> None:
    operator: Any = FakeOperator(success=success, message=message, ready=[{half: [NEW, OLD] for half in HALVES}])
    with pytest.raises(MolaError, match=told):
        BundleClient(operator).unload()
