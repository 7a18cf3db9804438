"""A demo lowers the cameras' rate where the machine does not keep up, and only there."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest

from mola_core.contracts.clock import NS_PER_S
from mola_nodes.demo import pace
from mola_nodes.demo.cpu_quota import CpuQuota
from mola_nodes.demo.pace import SLOW_FPS, paced_twin

_TICKS_A_S = 100
_CORES = 2


class WorkingClock:
    """Time passes only where somebody sleeps; the kernel counts meanwhile what the cores did."""

    stat: Path
    busy = 0.0
    now_ns = 0

    def monotonic_ns(self) -> int:
        return WorkingClock.now_ns

    def sleep_until(self, monotonic_ns: int) -> None:
        WorkingClock.now_ns = monotonic_ns
        ticks = _CORES * _TICKS_A_S * monotonic_ns // NS_PER_S
        used = round(ticks * self.busy)
        # user nice system idle iowait irq softirq steal guest guest_nice; a guest's time is in user already
        words = [used // 2, 0, used - used // 2, (ticks - used) // 2, ticks - used - (ticks - used) // 2, 0, 0, 0, 7, 7]
        self.stat.write_text("cpu  " + " ".join(map(str, words)) + "\ncpu0 1 2 3\n")


class FakeTwin:
    """Notes what was brought up, and that never two were up at once."""

    brought_up: list[int | None]
    up = 0

    def __init__(self, *, fps: int | None, **_: Any) -> None:
        self.fps = fps

    def __enter__(self) -> Self:
        FakeTwin.brought_up.append(self.fps)
        FakeTwin.up += 1
        assert FakeTwin.up == 1
        return self

    def __exit__(self, *_: object) -> None:
        FakeTwin.up -= 1


@pytest.mark.parametrize(
    ("asked", "busy", "brought_up"),
    [
        (None, 0.4, [None]),
        (None, 0.85, [None, SLOW_FPS]),
        (30, 0.85, [30]),
    ],
)
def test_only_a_slow_machine_gets_slow_cameras(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: int | None, busy: float, brought_up: list[int | None]
) -> None:
    WorkingClock.stat, WorkingClock.now_ns = tmp_path / "stat", 0
    FakeTwin.brought_up, FakeTwin.up = [], 0
    monkeypatch.setattr(WorkingClock, "busy", busy)
    monkeypatch.setattr(pace, "_STAT", WorkingClock.stat)
    monkeypatch.setattr(pace, "SystemClock", WorkingClock)
    monkeypatch.setattr(pace, "cpu_quota", lambda: None)
    monkeypatch.setattr(pace, "RunningTwin", FakeTwin)
    said: list[str] = []
    with paced_twin(
        log_path=tmp_path / "graph.log", host="127.0.0.2", fps=asked, arguments={}, say=said.append
    ) as twin:
        assert twin.fps == brought_up[-1]  # type: ignore[attr-defined]  # the fake's
        assert FakeTwin.up == 1
    assert FakeTwin.up == 0
    assert FakeTwin.brought_up == brought_up
    told = f"the idle graph takes 85 % of this machine: bringing it up again with cameras at {SLOW_FPS} Hz"
    assert said == [told][: len(brought_up) - 1]


def test_what_counts_is_what_a_quota_grants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half a core used of one granted, on a machine of two whose other core somebody else keeps busy."""
    WorkingClock.stat, WorkingClock.now_ns = tmp_path / "stat", 0
    usage = tmp_path / "cpuacct.usage"

    class Quota(CpuQuota):
        def used_ns(self) -> int:
            usage.write_text(str(WorkingClock.now_ns // 2))
            return super().used_ns()

    monkeypatch.setattr(WorkingClock, "busy", 0.75)
    monkeypatch.setattr(pace, "_STAT", WorkingClock.stat)
    monkeypatch.setattr(pace, "SystemClock", WorkingClock)
    monkeypatch.setattr(pace, "cpu_quota", lambda: Quota(cores=1.0, usage=usage))
    assert pace.busy_share() == pytest.approx(0.5)
    monkeypatch.setattr(pace, "cpu_quota", lambda: None)
    assert pace.busy_share() == pytest.approx(0.75)


def test_the_machine_says_how_busy_it_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as working:
        share = pace.busy_share()
        working.kill()
    assert 0.0 < share <= 1.0
