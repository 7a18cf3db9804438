"""``mola bench acting``: decisions named as such, each half for itself, and a verdict."""

import argparse
import io
from typing import Any

import pytest
from mola_interfaces.msg import HalfStatus
from phase_figures import phase
from rich.console import Console

from mola_core.contracts.errors import ConfigError, MolaError
from mola_nodes.bench import acting
from mola_nodes.bench.acting import ActingFigures, HalfFigures, halves_of, print_acting
from mola_nodes.demo.hops import HopFigures


def figures(**changes: Any) -> ActingFigures:
    return ActingFigures(
        bundle="twin/8",
        mode="realtime",
        phase=phase(**changes),
        halves={"imagination": HalfFigures(40.2, 61.7, 80.1), "actor": HalfFigures(11.0, 19.6, 25.5)},
        hops=(HopFigures("camera to servo", count=420, p50_ms=126.2, p99_ms=184.4, max_ms=222.0),),
        processor_percent={"imagination": 22.4, "policy": 17.1, "idle": 0.2},
        endings=("it hit [something]",),
    )


def printed(found: ActingFigures) -> list[str]:
    out = io.StringIO()
    print_acting(found, console=Console(file=out, width=80, highlight=False))
    return [" ".join(line.replace("│", " ").split()) for line in out.getvalue().splitlines()]


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    acting.register(parser.add_subparsers())
    return parser.parse_args(["acting", "twin/8", *words])


def test_the_table_names_decisions_halves_hops_and_load() -> None:
    lines = printed(figures())
    for row in (
        "decisions (distinct answers) 420",
        "decisions a second, while a run goes on 15.2",
        "imagination, its last 200 runs, ms: p50 / p99 / max 40 / 62 / 80",
        "actor, its last 200 runs, ms: p50 / p99 / max 11 / 20 / 26",
        "camera to servo 420 126.2 184.4 222.0",
        "processor, % of one core 40",
        "a run ended, and another began: it hit [something]",
    ):
        assert row in lines
    assert not any(line.startswith("idle") for line in lines), "what uses nothing has no row"
    assert lines[-1] == "passed: 0 stops because the graph was too slow; none is allowed"


@pytest.mark.parametrize(("late_stops", "code"), [(0, 0), (2, 1)])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_graph_too_slow_for_the_arm_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], late_stops: int, code: int, words: list[str]
) -> None:
    monkeypatch.setattr(acting, "measure", lambda _args: figures(late_stops=late_stops))
    assert acting.run(parsed(*words)) == code
    out = capsys.readouterr().out
    assert ('"passed": true' in out if words else "passed: 0 stops" in out) == (code == 0)


@pytest.mark.parametrize("seconds", ["1.9", "3601", "nan"])
def test_a_time_in_which_nothing_can_be_measured_is_refused(seconds: str) -> None:
    with pytest.raises(ConfigError, match=f"--seconds {seconds} must be"):
        acting.run(parsed("--seconds", seconds))


def test_each_half_is_told_for_itself() -> None:
    statuses = {
        "imagination": HalfStatus(run_p50_ms=40.0, run_p99_ms=60.0, run_max_ms=80.0),
        "actor": HalfStatus(run_p50_ms=10.0, run_p99_ms=20.0, run_max_ms=25.0),
    }
    assert halves_of(statuses) == {
        "imagination": HalfFigures(40.0, 60.0, 80.0),
        "actor": HalfFigures(10.0, 20.0, 25.0),
    }


@pytest.mark.parametrize(
    "statuses",
    [{"imagination": HalfStatus(run_p50_ms=40.0)}, {"imagination": HalfStatus(), "actor": HalfStatus(run_p50_ms=-1.0)}],
)
def test_a_half_that_has_not_run_is_named(statuses: dict[str, HalfStatus]) -> None:
    with pytest.raises(MolaError, match="the actor has told of no run"):
        halves_of(statuses)
