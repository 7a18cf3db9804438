"""The decisions of a hot swap: nothing is promoted before both halves have it, and what fails gives way."""

import pytest

from mola_core.runtime.slot import SlotReport
from mola_core.runtime.swap import HALVES, SwapError, SwapManager


def settle(manager: SwapManager, *, failed: dict[str, str] | None = None, halves: tuple[str, ...] = HALVES) -> None:
    """Each of ``halves`` reports that it is where it is wanted, except for what failed."""
    failed = failed or {}
    wish = manager.wish
    ready = tuple(name for name in wish.bundles if name not in failed)
    serving = wish.active if wish.active in ready else ""
    for half in halves:
        manager.note(half, SlotReport(revision=wish.revision, serving=serving, ready=ready, failed=failed))


@pytest.fixture
def manager() -> SwapManager:
    manager = SwapManager(first_revision=100)
    manager.begin("a/1")
    settle(manager)
    return manager


def test_a_swap_keeps_the_old_bundle_for_rollback(manager: SwapManager) -> None:
    manager.stage("b/1")
    settle(manager)
    assert manager.staged_is_ready
    manager.promote("b/1")
    assert (manager.wish.active, manager.wish.previous, manager.wish.staged) == ("b/1", "a/1", "")
    assert not manager.settled
    settle(manager)
    assert manager.settled
    assert manager.rollback("it stutters") == "a/1"
    assert (manager.wish.active, manager.wish.previous) == ("a/1", "b/1")
    assert "it stutters; a/1 serves again" in manager.reason
    assert manager.wish.revision == 104


def test_nothing_is_promoted_before_both_halves_have_it(manager: SwapManager) -> None:
    with pytest.raises(SwapError, match="b/1 is not staged; staged is none"):
        manager.promote("b/1")
    manager.stage("b/1")
    settle(manager, halves=("imagination",))
    with pytest.raises(SwapError, match="still being loaded"):
        manager.promote("b/1")
    settle(manager)
    manager.promote("b/1")


def test_a_bundle_that_cannot_be_loaded_leaves_the_old_one_serving(manager: SwapManager) -> None:
    manager.stage("b/1")
    settle(manager, failed={"b/1": "sha256 of onnx/actor.onnx differs"}, halves=("actor",))
    assert (manager.wish.active, manager.wish.staged) == ("a/1", "")
    assert manager.reason == "b/1 was refused by the actor: sha256 of onnx/actor.onnx differs"


@pytest.mark.parametrize("half", HALVES)
def test_a_bundle_that_fails_in_service_is_rolled_back(manager: SwapManager, half: str) -> None:
    manager.stage("b/1")
    settle(manager)
    manager.promote("b/1")
    settle(manager, failed={"b/1": "actions are not finite"}, halves=(half,))
    assert (manager.wish.active, manager.wish.previous) == ("a/1", "")
    assert "actions are not finite; a/1 serves again" in manager.reason


@pytest.mark.parametrize("halves", [("actor",), HALVES])
def test_a_bundle_whose_process_ends_while_it_serves_is_rolled_back(
    manager: SwapManager, halves: tuple[str, ...]
) -> None:
    manager.stage("b/1")
    settle(manager)
    manager.promote("b/1")
    settle(manager)
    for half in halves:  # begins anew: nothing is loaded, no wish was heard yet
        manager.note(half, SlotReport(revision=0, serving="", ready=()))
    assert (manager.wish.active, manager.wish.previous) == ("a/1", "")
    assert manager.reason.endswith("process ended while b/1 served; a/1 serves again")


def test_with_nothing_to_go_back_to_a_process_that_ended_loads_the_same_again(manager: SwapManager) -> None:
    manager.note("actor", SlotReport(revision=0, serving="", ready=()))
    assert (manager.wish.active, manager.reason) == ("a/1", "")


def test_a_failure_reported_before_the_wish_was_heard_does_not_count(manager: SwapManager) -> None:
    manager.stage("b/1")
    stale = SlotReport(revision=manager.wish.revision - 1, serving="a/1", ready=("a/1",), failed={"b/1": "earlier"})
    manager.note("actor", stale)
    assert manager.wish.staged == "b/1"


def test_without_a_previous_bundle_there_is_no_way_back(manager: SwapManager) -> None:
    with pytest.raises(SwapError, match="no previous bundle"):
        manager.rollback("")
    settle(manager, failed={"a/1": "late"}, halves=("actor",))
    assert manager.wish.active == "a/1"
    assert "there is no previous bundle" in manager.reason


def test_the_serving_bundle_is_not_staged_again_and_a_staged_one_can_be_let_go(manager: SwapManager) -> None:
    with pytest.raises(SwapError, match="in service already"):
        manager.stage("a/1")
    manager.stage("b/1")
    manager.unstage("not enough memory")
    assert (manager.wish.staged, manager.reason) == ("", "not enough memory")


def test_everything_that_does_not_serve_can_be_let_go(manager: SwapManager) -> None:
    manager.stage("b/1")
    settle(manager)
    manager.promote("b/1")
    settle(manager)
    manager.stage("c/1")
    assert manager.release() == ("a/1", "c/1")
    assert manager.wish.bundles == ("b/1",)
    with pytest.raises(SwapError, match="no previous bundle"):
        manager.rollback("")
    revision = manager.wish.revision
    assert manager.release() == ()
    assert manager.wish.revision == revision, "nothing has changed, so the halves are told nothing"


def test_the_previous_bundle_can_be_staged_as_any_other(manager: SwapManager) -> None:
    manager.stage("b/1")
    settle(manager)
    manager.promote("b/1")
    settle(manager)
    manager.stage("a/1")
    assert (manager.wish.active, manager.wish.staged, manager.wish.previous) == ("b/1", "a/1", "")
