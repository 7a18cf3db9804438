"""What serves changes by a pointer; what is broken never takes the serving bundle with it."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from mola_core.contracts.errors import MolaError
from mola_core.runtime.slot import EngineSlot, Wanted


@dataclass
class FakeHalf:
    """As real halves do, closing waits for a call under way, which holds the lock."""

    bundle_id: str
    closed: bool = False
    calls: threading.Lock = field(default_factory=threading.Lock)
    error: Exception | None = None
    """Of closing."""

    def close(self) -> None:
        with self.calls:
            if self.error is not None:
                raise self.error
            self.closed = True


@dataclass
class Loader:
    """Loads at once, except what is held back or broken."""

    broken: dict[str, Exception] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    made: list[FakeHalf] = field(default_factory=list)

    def __call__(self, bundle_id: str) -> FakeHalf:
        if bundle_id.startswith("slow"):
            assert self.gate.wait(10)
        if bundle_id in self.broken:
            raise self.broken[bundle_id]
        half = FakeHalf(bundle_id)
        self.made.append(half)
        return half


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.002)


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def slot(loader: Loader) -> Iterator[EngineSlot[FakeHalf]]:
    with EngineSlot(loader) as slot:
        yield slot


def serving(slot: EngineSlot[FakeHalf]) -> str:
    half = slot.active()
    return half.bundle_id if half else ""


def test_nothing_serves_until_something_is_wanted(slot: EngineSlot[FakeHalf]) -> None:
    assert slot.active() is None
    slot.want(Wanted(1, active="a/1"))
    until(lambda: serving(slot) == "a/1")


def test_the_old_one_serves_while_the_new_one_loads(slot: EngineSlot[FakeHalf], loader: Loader) -> None:
    slot.want(Wanted(1, active="a/1"))
    until(lambda: serving(slot) == "a/1")
    slot.want(Wanted(2, active="slow/2"))
    until(lambda: slot.report().revision == 2)
    assert serving(slot) == "a/1"
    loader.gate.set()
    until(lambda: serving(slot) == "slow/2")
    slot.active()
    until(lambda: (slot.active(), loader.made[0].closed)[1])
    assert slot.report().ready == ("slow/2",)


def test_promotion_and_rollback_need_no_loading(slot: EngineSlot[FakeHalf], loader: Loader) -> None:
    slot.want(Wanted(1, active="a/1", staged="b/1"))
    until(lambda: set(slot.report().ready) == {"a/1", "b/1"})
    for revision in range(2, 102):
        new, old = ("b/1", "a/1") if revision % 2 == 0 else ("a/1", "b/1")
        slot.want(Wanted(revision, active=new, previous=old))
        assert serving(slot) == new
    assert len(loader.made) == 2
    assert not any(half.closed for half in loader.made)


@pytest.mark.parametrize("error", [MolaError("sha256 differs"), RuntimeError("bad graph")])
def test_what_cannot_be_loaded_is_named_and_changes_nothing(
    slot: EngineSlot[FakeHalf], loader: Loader, error: Exception
) -> None:
    loader.broken["b/1"] = error
    slot.want(Wanted(1, active="a/1"))
    until(lambda: serving(slot) == "a/1")
    slot.want(Wanted(2, active="a/1", staged="b/1"))
    until(lambda: "b/1" in slot.report().failed)
    assert str(error) in slot.report().failed["b/1"]
    assert serving(slot) == "a/1"


def test_a_bundle_that_fails_in_service_gives_way_to_the_previous_one(
    slot: EngineSlot[FakeHalf], loader: Loader
) -> None:
    slot.want(Wanted(1, active="b/1", previous="a/1"))
    until(lambda: set(slot.report().ready) == {"a/1", "b/1"})
    assert serving(slot) == "b/1"
    slot.fail("b/1", "not finite")
    assert serving(slot) == "a/1"
    assert slot.get("b/1") is None
    assert slot.report().failed == {"b/1": "not finite"}
    until(lambda: (slot.active(), next(half for half in loader.made if half.bundle_id == "b/1").closed)[1])


def test_a_failed_bundle_may_try_again_when_it_is_wanted_anew(slot: EngineSlot[FakeHalf], loader: Loader) -> None:
    loader.broken["b/1"] = MolaError("the disk was full")
    slot.want(Wanted(1, active="a/1", staged="b/1"))
    until(lambda: "b/1" in slot.report().failed)
    del loader.broken["b/1"]
    slot.want(Wanted(2, active="a/1"))
    slot.want(Wanted(3, active="a/1", staged="b/1"))
    until(lambda: "b/1" in slot.report().ready)


def test_a_wish_older_than_the_last_is_ignored(slot: EngineSlot[FakeHalf]) -> None:
    slot.want(Wanted(5, active="a/1"))
    slot.want(Wanted(4, active="b/1"))
    until(lambda: serving(slot) == "a/1")
    assert slot.wanted().revision == 5


def test_leaving_releases_everything(loader: Loader) -> None:
    with EngineSlot(loader) as slot:
        slot.want(Wanted(1, active="a/1", staged="b/1"))
        until(lambda: len(slot.report().ready) == 2)
    assert [half.closed for half in loader.made] == [True, True]


def test_a_half_that_hangs_is_given_up_and_holds_up_no_later_load(loader: Loader) -> None:
    with EngineSlot(loader, close_s=0.05) as slot:
        slot.want(Wanted(1, active="a/1", staged="b/1"))
        until(lambda: len(slot.report().ready) == 2)
        b = next(half for half in loader.made if half.bundle_id == "b/1")
        with b.calls:  # a call that does not come back
            slot.fail("b/1", "it was not back after 800 ms")
            slot.want(Wanted(2, active="a/1", staged="c/1"))
            until(lambda: (slot.active(), "c/1" in slot.report().ready)[1])
            until(lambda: slot.report().leaked == ("b/1",))
            assert slot.report().failed["b/1"] == (
                "it was not back after 800 ms; its engines could not be closed (a call into them has not come back) "
                "and keep their memory until this process ends"
            )
            assert serving(slot) == "a/1"
        until(lambda: b.closed)


def test_an_error_of_closing_is_reported_and_holds_up_no_later_load(slot: EngineSlot[FakeHalf], loader: Loader) -> None:
    slot.want(Wanted(1, active="a/1", staged="b/1"))
    until(lambda: len(slot.report().ready) == 2)
    next(half for half in loader.made if half.bundle_id == "b/1").error = RuntimeError("the device is lost")
    slot.want(Wanted(2, active="a/1"))
    until(lambda: (slot.active(), slot.report().leaked == ("b/1",))[1])
    slot.want(Wanted(3, active="a/1", staged="c/1"))
    until(lambda: "c/1" in slot.report().ready)
    assert slot.report().failed == {}, "it may be loaded again"


def test_leaving_waits_for_nothing_that_hangs(loader: Loader) -> None:
    left = threading.Event()
    slot = EngineSlot(loader, close_s=0.05)
    slot.__enter__()
    slot.want(Wanted(1, active="a/1", previous="b/1", staged="slow/1"))
    until(lambda: len(slot.report().ready) == 2)
    a, b = loader.made

    def leave() -> None:
        slot.__exit__(None, None, None)
        left.set()

    with a.calls:  # and the loader still waits for slow/1
        threading.Thread(target=leave, daemon=True).start()
        assert left.wait(10)
        assert b.closed
        assert slot.report().leaked == ("a/1",)
    loader.gate.set()
    until(lambda: len(loader.made) == 3 and loader.made[2].closed)
