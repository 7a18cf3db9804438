"""A hot swap that was asked for: it happens in the first run that lasts long enough, or the demo says why it did not."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mola_core.contracts.errors import MolaError
from mola_nodes.demo import learned as module
from mola_nodes.demo.learned import LearnedDemo

OLD, NEW = "twin/7", "twin/8"


class FakeClient:
    """A bundle manager that does as its script says."""

    def __init__(self, *, promote: list[str] | None = None, gap: float | str = 40.0) -> None:
        """``promote``: what each request is refused with, empty where it is not; ``gap``: in ms, or why none is seen."""
        self._promote = list(promote or [])
        self._gap = gap
        self.promoted: list[str] = []
        self.asked = threading.Event()
        self.status = SimpleNamespace(active_bundle=OLD, reason="")

    def wait_serving(self, _bundle_id: str) -> None:
        """It does."""

    def load(self, _bundle_id: str) -> None:
        """Staged at once."""

    def promote(self, bundle_id: str) -> float:
        self.promoted.append(bundle_id)
        self.asked.set()
        refusal = self._promote.pop(0) if self._promote else ""
        if refusal:
            raise MolaError(refusal)
        self.status.active_bundle = bundle_id
        return -1.0

    def wait_gap(self, *, timeout_s: float) -> float:
        assert timeout_s > 0
        if isinstance(self._gap, str):
            raise MolaError(self._gap)
        return self._gap


class Demo:
    """A demo of two bundles, and what it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, client: FakeClient, *bundles: str) -> None:
        monkeypatch.setattr(module, "BundleClient", lambda _operator: client)
        monkeypatch.setattr(module, "_SWAP_AFTER_S", 0.0)
        self.said: list[str] = []
        self._asked = client.asked
        self.learned = LearnedDemo(
            models=Path("models"), bundles=bundles or (OLD, NEW), store=Path("episodes"), say=self.said.append
        )
        operator: Any = None
        self.learned.begin(operator)

    def run(self, *, until_asked: bool = True) -> float | None:
        """One run of the policy, which lasts until the swap has been asked for, or ends at once."""
        self._asked.clear()
        with self.learned.swapping():
            assert not until_asked or self._asked.wait(30.0)
        return self.learned.last_gap_ms


def test_it_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient()
    demo = Demo(monkeypatch, client)
    assert [demo.run(), demo.run(until_asked=False)] == [40.0, None]
    assert client.promoted == [NEW]
    assert demo.learned.swap_problem == ""


def test_where_the_first_run_was_too_short_the_next_one_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient()
    demo = Demo(monkeypatch, client)
    monkeypatch.setattr(module, "_SWAP_AFTER_S", 1.5)
    assert demo.run(until_asked=False) is None
    assert demo.learned.swap_problem == f"no run lasted the 1.5 s after which {NEW} takes over"
    monkeypatch.setattr(module, "_SWAP_AFTER_S", 0.0)
    assert demo.run() == 40.0
    assert demo.learned.swap_problem == ""


def test_a_refusal_is_told_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = f"bundle {NEW} is still being loaded"
    demo = Demo(monkeypatch, FakeClient(promote=[refusal, ""]))
    assert demo.run() is None
    assert demo.learned.swap_problem == refusal
    assert demo.run() == 40.0
    assert demo.learned.swap_problem == ""
    demo = Demo(monkeypatch, FakeClient(promote=["first", "second"]))
    demo.run(), demo.run()
    assert demo.learned.swap_problem == "first; then: second"


def test_a_bundle_that_took_over_unseen_has_not_been_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Demo(monkeypatch, FakeClient(gap="gave up waiting for the gap of a swap"))
    assert [demo.run(), demo.run(until_asked=False)] == [None, None]
    assert demo.learned.swap_problem.startswith(f"{NEW} serves, but no answer of it was seen in the middle of a task")


def test_a_bundle_that_was_taken_out_again_has_not_stayed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient()
    demo = Demo(monkeypatch, client)
    demo.run()
    client.status = SimpleNamespace(active_bundle=OLD, reason=f"the actor took {NEW} out of service: late")
    assert demo.learned.swap_problem == (
        f"{NEW} took over and did not stay, {OLD} serves: the actor took {NEW} out of service: late"
    )


def test_with_one_bundle_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Demo(monkeypatch, FakeClient(), OLD)
    assert demo.run(until_asked=False) is None
    assert demo.learned.swap_problem == ""
