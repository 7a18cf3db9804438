"""A demo ends by itself: in time it is left alone, and when its time is over it leaves whatever it waits for, cleanly."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo_results import episode

from mola_core.contracts.errors import MolaError
from mola_nodes.demo import run as demo_run
from mola_nodes.demo.alarm import Alarm, OverdueError
from mola_nodes.demo.options import TAKING_DOWN_S, DemoOptions

FOREVER_S = 60.0


def test_it_rings_in_the_middle_of_a_wait_past_everyone_who_mends_errors() -> None:
    left: list[str] = []

    def wait_forever() -> None:
        try:
            with contextlib.suppress(MolaError, Exception):
                threading.Event().wait(FOREVER_S)
        finally:
            left.append("cleanly")

    with pytest.raises(OverdueError, match=r"not done within 0\.02 s"), Alarm(after_s=0.02):
        wait_forever()
    assert left == ["cleanly"]


def test_what_is_done_in_time_hears_nothing_of_it() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with Alarm(after_s=FOREVER_S):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before


def test_once_called_off_the_rest_may_take_its_time() -> None:
    with Alarm(after_s=FOREVER_S) as alarm:
        alarm.call_off()
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_an_alarm_that_would_never_ring_is_refused() -> None:
    with pytest.raises(ValueError, match="0 s"):
        Alarm(after_s=0.0)


def test_a_demo_whose_time_is_over_takes_the_graph_down_and_keeps_what_it_has_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def twin(**_: Any) -> Iterator["FakeTwin"]:
        events.append("up")
        try:
            yield FakeTwin()
        finally:
            events.append("down")

    def task(self: Any, name: str) -> Any:
        events.append(name)
        if name == "second":
            threading.Event().wait(FOREVER_S)
        return episode(task=name)

    monkeypatch.setattr(demo_run, "paced_twin", twin)
    for name in ("WorldClient", "CameraFilm", "Homing"):
        monkeypatch.setattr(demo_run, name, lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(demo_run, "load_site", lambda _path: None)
    monkeypatch.setattr(demo_run.Stage, "task", task)
    options = DemoOptions(
        out=tmp_path,
        tasks=("first", "second", "third"),
        seed=0,
        policy="scripted",
        time_limit_s=TAKING_DOWN_S + 0.05,
    )
    said: list[str] = []
    result = demo_run.run_demo(options, say=said.append)
    assert events == ["up", "first", "second", "down"]
    assert [done.task for done in result.episodes] == ["first"]
    assert not result.succeeded
    assert result.problems[0].endswith("tasks without a result: second, third")
    assert said[-1] == "the time is over"


class FakeTwin:
    site = Path("site.yaml")

    @property
    def operator(self) -> "FakeTwin":
        return self

    def subscribe(self, _topic: object, _callback: object) -> None:
        """Nothing will be heard."""
