"""The bundle manager: whatever becomes of a trial is a reason, and listing looks at no bytes. Probe and shelf are faked."""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mola_core.contracts.bundle import BundleError
from mola_core.contracts.site import load_site
from mola_core.runtime.halves import BundleShelf
from mola_core.runtime.slot import SlotReport, Wanted
from mola_core.runtime.swap import HALVES, SwapManager
from mola_nodes.bundles.manager import BundleManager, problem_of

SITE = Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml"
MODELS = Path(__file__).parents[2] / "models"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.002)


class FakeShelf:
    """Has every bundle."""

    def path_of(self, bundle_id: str) -> Path:
        return Path(bundle_id)


def manager_that(probe: Callable[[str], None], wishes: list[Wanted]) -> BundleManager:
    swap = SwapManager(first_revision=0)
    swap.begin("old/1")
    for half in HALVES:
        swap.note(half, SlotReport(revision=swap.wish.revision, serving="old/1", ready=("old/1",)))
    return BundleManager(shelf=FakeShelf(), probe=probe, swap=swap, on_wish=wishes.append)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BundleError("bundle new/1 was not loaded"), "bundle new/1 was not loaded"),
        (IndexError("list index out of range"), "bundle new/1 could not be tried: IndexError: list index out of range"),
        (OSError(12, "Cannot allocate memory"), "bundle new/1 could not be tried: OSError: [Errno 12] Cannot allocate"),
    ],
)
def test_whatever_goes_wrong_in_a_trial_is_a_reason_and_the_next_may_be_tried(error: Exception, reason: str) -> None:
    def probe(_bundle_id: str) -> None:
        raise error

    wishes: list[Wanted] = []
    manager = manager_that(probe, wishes)
    for _ in range(2):
        manager.load("new/1")
        until(lambda: not manager.trying)
        assert manager.swap.reason.startswith(reason)
    assert wishes == []


def test_what_stands_the_trial_is_staged() -> None:
    wishes: list[Wanted] = []
    manager = manager_that(lambda _bundle_id: None, wishes)
    manager.load("new/1")
    until(lambda: not manager.trying)
    assert [wish.staged for wish in wishes] == ["new/1"]
    assert manager.swap.reason == ""


def test_listing_looks_at_no_bytes_and_still_tells_what_a_bundle_says_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(MODELS / "twin" / "8", tmp_path / "twin" / "8")
    (tmp_path / "renamed").mkdir()
    (tmp_path / "renamed" / "1").symlink_to(tmp_path / "twin" / "8")
    shelf = BundleShelf(tmp_path, site=load_site(SITE))

    def refuse(*_: object) -> None:
        raise AssertionError("bytes are read")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    runtimes, problem = problem_of(shelf, "twin/8")
    assert ("onnxruntime" in runtimes, problem) == (True, "")
    assert "says that it is bundle twin/8" in problem_of(shelf, "renamed/1")[1]
    assert "there is no bundle 'absent/1'" in problem_of(shelf, "absent/1")[1]
    with pytest.raises(AssertionError, match="bytes are read"):
        shelf.open("twin/8")
