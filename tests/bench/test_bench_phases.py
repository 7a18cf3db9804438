"""What the benches of a policy that acts make of what the graph says meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from mola_interfaces.msg import CommandedState, LatentActions, ServoStatus
from phase_figures import phase

from mola_core.contracts.errors import MolaError
from mola_nodes.bench import phases
from mola_nodes.bench.phases import ROWS, Answer, KeptRun, Watch, figures_of

EXECUTING, STOPPED, OFFLINE = ServoStatus.EXECUTING, ServoStatus.STOPPED, ServoStatus.OFFLINE


def status(second: int, *, ticks: int, misses: int = 0, state: int = EXECUTING, **fields: Any) -> ServoStatus:
    return ServoStatus(stamp=Time(sec=second), ticks=ticks, deadline_misses=misses, state=state, **fields)


def answers(*times_s: float, run: int = 1) -> list[Answer]:
    return [Answer(time_s, "twin/8", run) for time_s in times_s]


def test_decisions_are_counted_while_a_run_goes_on() -> None:
    heard = [*answers(0.0, 0.1, 0.2, 0.3), *answers(10.3, 10.4, run=2)]
    figures = figures_of([status(0, ticks=0), status(20, ticks=10_000)], heard, seconds=20.0, path_m=0.5)
    assert figures.decisions == 6
    assert figures.decisions_per_s == pytest.approx(10.0), "the ten seconds between two runs are nobody's"
    assert figures.interval_max_ms == pytest.approx(100.0)
    assert (figures.seconds, figures.path_m) == (20.0, 0.5)


def test_late_ticks_are_those_of_the_servo_processes_that_lived() -> None:
    statuses = [
        status(0, ticks=1000, misses=10),
        status(2, ticks=2000, misses=40),
        status(3, ticks=0, state=OFFLINE),
        status(5, ticks=100, misses=1),
        status(6, ticks=600, misses=6),
    ]
    figures = figures_of(statuses, answers(0.0, 0.1), seconds=6.0, path_m=0.0)
    assert (figures.ticks, figures.deadline_misses) == (1500, 35)
    assert figures.miss_percent == pytest.approx(100 * 35 / 1500)
    assert figures.commands_per_s == pytest.approx(500.0)


def test_a_stop_is_counted_once_and_told_apart_by_its_reason() -> None:
    stale = "stale: the newest input is 151 ms old"
    statuses = [
        status(0, ticks=0, chunks_rejected=3),
        status(1, ticks=500, state=ServoStatus.BRAKING, reason=stale, chunks_rejected=3),
        status(2, ticks=1000, state=STOPPED, reason=stale, chunks_rejected=4),
        status(3, ticks=1500, state=ServoStatus.HOLDING, chunks_rejected=4),
        status(4, ticks=2000, state=STOPPED, reason="protective stop", chunks_rejected=5),
    ]
    figures = figures_of(statuses, answers(0.0, 0.1), seconds=4.0, path_m=0.0)
    assert (figures.stops, figures.late_stops, figures.refused) == (2, 1, 2)


def test_refusals_are_counted_on_over_a_controller_that_was_started_anew() -> None:
    statuses = [status(second, ticks=0, chunks_rejected=count) for second, count in enumerate((7, 9, 0, 1))]
    assert figures_of(statuses, answers(0.0, 0.1), seconds=3.0, path_m=0.0).refused == 3


@pytest.mark.parametrize(
    ("statuses", "heard"),
    [
        ([status(0, ticks=0)], answers(0.0, 0.1)),
        ([status(0, ticks=0), status(1, ticks=500)], answers(0.0)),
        ([status(0, ticks=0), status(1, ticks=500)], [*answers(0.0), *answers(0.1, run=2)]),
    ],
)
def test_too_little_to_measure_is_said(statuses: list[ServoStatus], heard: list[Answer]) -> None:
    told = rf"{len(statuses)} servo statuses, {len(heard)} answers in 7 s"
    with pytest.raises(MolaError, match=told):
        figures_of(statuses, heard, seconds=7.0, path_m=0.0)


def test_the_rows_name_decisions_as_such() -> None:
    told = {name: row(phase()) for name, row in ROWS.items()}
    assert told["decisions (distinct answers)"] == "420"
    assert told["decisions a second, while a run goes on"] == "15.2"
    assert told["late servo ticks"] == "240 (1.6 %)"
    assert told["between decisions, ms: p50 / p99 / max"] == "66 / 93 / 114"


def test_the_watch_notes_answers_with_their_run_and_follows_the_tool() -> None:
    watch = Watch()
    for run, bundle in ((1, "twin/7"), (2, "twin/8")):
        watch.run = run
        watch.note(LatentActions(bundle_id=bundle))
    assert [(answer.bundle_id, answer.run) for answer in watch.answers] == [("twin/7", 1), ("twin/8", 2)]
    for x in (0.1, 0.2, 0.15):
        watch.follow(CommandedState(base_from_tcp=[x, 0.0, 0.3, 0.0, 0.0, 0.0]))
    assert watch.path_m == pytest.approx(0.15)


class FakeGoal:
    """A run that ends when told to."""

    def __init__(self) -> None:
        self.done = False

    def result(self) -> SimpleNamespace:
        return SimpleNamespace(reason="the arm is stopped (it hit something)")


class FakeOperator:
    """Resumes, and starts runs; a policy that answers at once."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.goals: list[FakeGoal] = []
        self.resumes = 0

    def resume(self) -> None:
        self.resumes += 1

    def run(self, instruction: str, *, time_limit_s: float) -> FakeGoal:
        assert instruction == "press the button"
        assert time_limit_s > 0
        self._watch.note(LatentActions(bundle_id="twin/8"))
        self.goals.append(FakeGoal())
        return self.goals[-1]

    def wait_for(self, condition: Any, what: str, *, timeout_s: float) -> None:
        assert condition(), f"{what} within {timeout_s} s"


def test_a_run_that_has_ended_is_told_the_arm_brought_home_and_another_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    homed: list[str] = []
    monkeypatch.setattr(phases, "load_site", lambda path: path)
    monkeypatch.setattr(
        phases, "Homing", lambda site, *, operator: SimpleNamespace(go=lambda: homed.append(str(site)), of=operator)
    )
    watch = Watch()
    operator: Any = FakeOperator(watch)
    kept = KeptRun("press the button", operator=operator, watch=watch, site=Path("site.yaml"))
    kept.ensure()
    assert (len(operator.goals), homed, kept.endings) == (1, [], [])
    kept.goal.done = True  # type: ignore[misc]  # the fake's
    kept.ensure()
    assert len(operator.goals) == 2
    assert homed == ["site.yaml"]
    assert kept.endings == ["the arm is stopped (it hit something)"]
    assert (watch.run, operator.resumes) == (2, 2)
