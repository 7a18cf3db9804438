"""A policy that acts on the whole graph, watched: how often it answers, what the servo makes of it, how far the tool goes."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mola_interfaces.msg import CommandedState, LatentActions, ServoStatus

from mola_core.contracts.errors import MolaError
from mola_core.contracts.quantiles import quantiles
from mola_core.contracts.site import load_site
from mola_nodes import graph
from mola_nodes.demo.homing import Homing
from mola_nodes.demo.operator_client import OperatorClient, PolicyRun

_ENGAGED = (ServoStatus.HOLDING, ServoStatus.EXECUTING)
_TOO_SLOW = ("stale", "silent", "starved")
_RUN_S = 3000.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One stretch of the run."""

    seconds: float
    ticks: int
    deadline_misses: int
    """Ticks that began later than one period."""
    miss_percent: float
    stops: int
    """Times that the servo left its engaged states, whatever for."""
    late_stops: int
    """Of them, those because inputs went stale or a process fell silent: the graph was too slow."""
    commands_per_s: float
    """Targets that the servo sent to the arm, while it was connected."""
    refused: int
    """Chunks that the controller or the servo did not take."""
    path_m: float
    """What the tool's commanded position travelled."""
    decisions: int
    """Answers of the policy, each distinct; however often its chunk was said again, it counts once."""
    decisions_per_s: float
    """While a run goes on: the time between two runs is nobody's."""
    interval_p50_ms: float
    """Between two answers of one run."""
    interval_p99_ms: float
    interval_max_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the policy."""

    heard_s: float
    """Monotonic."""
    bundle_id: str
    run: int
    """Number of the run that it belongs to."""


@dataclass
class Watch:
    """What is heard from the graph; written by the spinning thread."""

    answers: list[Answer] = field(default_factory=list)
    run: int = 0
    path_m: float = 0.0
    _last: np.ndarray | None = None

    def open(self, operator: OperatorClient) -> None:
        """Begin to listen."""
        operator.subscribe(graph.LATENT_ACTIONS, self.note)
        operator.subscribe(graph.COMMANDED, self.follow)

    def note(self, message: LatentActions) -> None:
        """An answer of the policy: the graph says the latent actions of each once."""
        self.answers.append(Answer(time.monotonic(), message.bundle_id, self.run))

    def follow(self, message: CommandedState) -> None:
        """Where the tool is meant to be."""
        position = np.array(message.base_from_tcp[:3])
        if self._last is not None:
            self.path_m += float(np.linalg.norm(position - self._last))
        self._last = position


class KeptRun:
    """A policy that is kept acting: when a run has ended (the arm hit something, say), the arm is brought home and it runs again."""

    def __init__(self, instruction: str, *, operator: OperatorClient, watch: Watch, site: Path) -> None:
        self._instruction = instruction
        self._operator = operator
        self._watch = watch
        self._site = site
        self._homing: Homing | None = None
        self.endings: list[str] = []
        """Why runs have ended by themselves."""
        self.goal = self._start()

    def ensure(self) -> None:
        """Return with the policy acting and answering."""
        if self.goal.done:
            self.endings.append(str(self.goal.result().reason))
            self._homing = self._homing or Homing(load_site(self._site), operator=self._operator)
            self._homing.go()
            self.goal = self._start()

    def act(self, seconds: float) -> None:
        """Keep it acting for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.ensure()
            time.sleep(min(left, _LOOK_S))

    def _start(self) -> PolicyRun:
        self._operator.resume()
        self._watch.run += 1
        before = len(self._watch.answers)
        goal = self._operator.run(self._instruction, time_limit_s=_RUN_S)
        self._operator.wait_for(
            lambda: len(self._watch.answers) > before or goal.done, "an answer of the policy", timeout_s=30.0
        )
        return goal


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a stretch begins."""

    time_s: float
    status: int
    answers: int
    path_m: float


def mark(operator: OperatorClient, watch: Watch) -> Mark:
    """Now."""
    return Mark(time.monotonic(), len(operator.servo_statuses), len(watch.answers), watch.path_m)


def phase_since(operator: OperatorClient, watch: Watch, begin: Mark) -> PhaseFigures:
    """What happened from ``begin`` to now.

    Raises:
        MolaError: too little to say.
    """
    return figures_of(
        operator.servo_statuses[begin.status :],
        watch.answers[begin.answers :],
        seconds=time.monotonic() - begin.time_s,
        path_m=watch.path_m - begin.path_m,
    )


def figures_of(
    statuses: Sequence[ServoStatus], answers: Sequence[Answer], *, seconds: float, path_m: float
) -> PhaseFigures:
    """The figures of what was heard during ``seconds``.

    Raises:
        MolaError: too little to say.
    """
    intervals_ms = [1000.0 * (b.heard_s - a.heard_s) for a, b in itertools.pairwise(answers) if a.run == b.run]
    if len(statuses) < 2 or not intervals_ms:
        raise MolaError(
            f"the graph said too little to measure ({len(statuses)} servo statuses, {len(answers)} answers in {seconds:.0f} s); "
            "see its log"
        )
    pairs = list(itertools.pairwise(statuses))
    # a servo process that was started anew counts from the beginning
    alive = [(a, b) for a, b in pairs if b.ticks >= a.ticks and a.state != ServoStatus.OFFLINE != b.state]
    ticks = sum(b.ticks - a.ticks for a, b in alive)
    misses = sum(b.deadline_misses - a.deadline_misses for a, b in alive)
    connected_s = sum(_stamp_s(b) - _stamp_s(a) for a, b in alive)
    stops = [b for a, b in pairs if a.state in _ENGAGED and b.state not in _ENGAGED]
    p50, p99 = quantiles(intervals_ms, 0.5, 0.99)
    return PhaseFigures(
        seconds=seconds,
        ticks=ticks,
        deadline_misses=misses,
        miss_percent=100.0 * misses / max(ticks, 1),
        stops=len(stops),
        late_stops=sum(any(word in status.reason for word in _TOO_SLOW) for status in stops),
        commands_per_s=ticks / max(connected_s, 1e-3),
        refused=sum(_counted(a.chunks_rejected, b.chunks_rejected) for a, b in pairs),
        path_m=path_m,
        decisions=len(answers),
        decisions_per_s=1000.0 * len(intervals_ms) / max(sum(intervals_ms), 1e-3),
        interval_p50_ms=p50,
        interval_p99_ms=p99,
        interval_max_ms=max(intervals_ms),
    )


def _counted(before: int, after: int) -> int:
    """By how much a count grew that begins anew with its node."""
    return after - before if after >= before else after


def _stamp_s(status: ServoStatus) -> float:
    return float(status.stamp.sec) + float(status.stamp.nanosec) * 1e-9


ROWS: Mapping[str, Callable[[PhaseFigures], str]] = {
    "seconds": lambda phase: f"{phase.seconds:.0f}",
    "late servo ticks": lambda phase: f"{phase.deadline_misses} ({phase.miss_percent:.1f} %)",
    "targets sent to the arm a second": lambda phase: f"{phase.commands_per_s:.1f}",
    "stops, of them for a graph too slow": lambda phase: f"{phase.stops}, {phase.late_stops}",
    "chunks refused": lambda phase: f"{phase.refused}",
    "path of the tool, m": lambda phase: f"{phase.path_m:.2f}",
    "decisions (distinct answers)": lambda phase: f"{phase.decisions}",
    "decisions a second, while a run goes on": lambda phase: f"{phase.decisions_per_s:.1f}",
    "between decisions, ms: p50 / p99 / max": lambda phase: (
        f"{phase.interval_p50_ms:.0f} / {phase.interval_p99_ms:.0f} / {phase.interval_max_ms:.0f}"
    ),
}
