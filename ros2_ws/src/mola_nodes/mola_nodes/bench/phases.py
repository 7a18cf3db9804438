"""A policy that acts on the whole graph, watched: how often it answers, what the servo makes of it, how far the tool goes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from mola_interfaces.msg import CommandedState, LatentActions, ServoStatus

from mola_core.contracts.errors import MolaError
from mola_core.contracts.quantiles import quantiles
from mola_nodes import graph
from mola_nodes.demo.operator_client import OperatorClient


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One stretch of the run."""

    seconds: float
    ticks: int
    deadline_misses: int
    miss_percent: float
    stops: int
    """Times that the servo left its engaged states."""
    commands_per_s: float
    """Targets that the servo sent to the arm."""
    refused: int
    """Chunks that the controller or the servo did not take."""
    path_m: float
    """What the tool's commanded position travelled."""
    answers: int
    interval_p50_ms: float
    """Between the policy's answers."""
    interval_p99_ms: float
    interval_max_ms: float


@dataclass
class Watch:
    """What is heard from the graph; written by the spinning thread."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    """(time of arrival s, bundle)."""
    path_m: float = 0.0
    _last: np.ndarray | None = None

    def open(self, operator: OperatorClient) -> None:
        """Begin to listen."""
        operator.subscribe(graph.LATENT_ACTIONS, self.note)
        operator.subscribe(graph.COMMANDED, self.follow)

    def note(self, message: LatentActions) -> None:
        """An answer of the policy."""
        self.answers.append((time.monotonic(), message.bundle_id))

    def follow(self, message: CommandedState) -> None:
        """Where the tool is meant to be."""
        position = np.array(message.base_from_tcp[:3])
        if self._last is not None:
            self.path_m += float(np.linalg.norm(position - self._last))
        self._last = position


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
    statuses: Sequence[ServoStatus] = operator.servo_statuses[begin.status :]
    times = [when for when, _ in watch.answers[begin.answers :]]
    if len(statuses) < 2 or len(times) < 2:
        raise MolaError("the graph said too little to measure; see its log")
    ticks = statuses[-1].ticks - statuses[0].ticks
    misses = statuses[-1].deadline_misses - statuses[0].deadline_misses
    seconds = _stamp_s(statuses[-1]) - _stamp_s(statuses[0])
    intervals_ms = 1000.0 * np.diff(times)
    p50, p99 = quantiles(intervals_ms, 0.5, 0.99)
    return PhaseFigures(
        seconds=time.monotonic() - begin.time_s,
        ticks=ticks,
        deadline_misses=misses,
        miss_percent=100.0 * misses / max(ticks, 1),
        stops=statuses[-1].stops - statuses[0].stops,
        commands_per_s=ticks / max(seconds, 1e-3),
        refused=statuses[-1].chunks_rejected - statuses[0].chunks_rejected,
        path_m=watch.path_m - begin.path_m,
        answers=len(times),
        interval_p50_ms=p50,
        interval_p99_ms=p99,
        interval_max_ms=float(intervals_ms.max()),
    )


def _stamp_s(status: ServoStatus) -> float:
    return float(status.stamp.sec) + float(status.stamp.nanosec) * 1e-9


ROWS: Mapping[str, Callable[[PhaseFigures], str]] = {
    "seconds": lambda phase: f"{phase.seconds:.0f}",
    "late servo ticks": lambda phase: f"{phase.deadline_misses} ({phase.miss_percent:.1f} %)",
    "targets sent to the arm a second": lambda phase: f"{phase.commands_per_s:.1f}",
    "stops": lambda phase: f"{phase.stops}",
    "chunks refused": lambda phase: f"{phase.refused}",
    "path of the tool, m": lambda phase: f"{phase.path_m:.2f}",
    "answers, a second": lambda phase: f"{phase.answers}, {phase.answers / phase.seconds:.1f}",
    "between answers, ms: p50 / p99 / max": lambda phase: (
        f"{phase.interval_p50_ms:.0f} / {phase.interval_p99_ms:.0f} / {phase.interval_max_ms:.0f}"
    ),
}
