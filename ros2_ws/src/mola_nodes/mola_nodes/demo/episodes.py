"""One episode a task: what the operator saw, in figures."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import LatencyHop, LatencyReport, ServoStatus

from mola_core.contracts.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """One row of the demo's table."""

    task: str
    attempt: int
    """1 for the first; a further one follows where the arm had stopped for safety, and once where a learned policy ran out of time."""
    instruction: str
    success: bool
    stopped_for_safety: bool
    """The arm braked: it hit something, inputs went stale, or a process fell silent because the machine was too busy."""
    reason: str
    duration_s: float
    command_rate_hz: float
    """Servo targets sent to the arm per second."""
    latency_p50_ms: float | None
    """Camera to servo: age of the oldest input of a chunk at the tick that first executes it; median of the windows."""
    latency_p99_ms: float | None
    """The worst window's p99. None where no chunk was executed."""
    deadline_misses: int
    """Servo ticks that began later than one period."""
    ticks: int
    chunk_rate_hz: float
    """Chunks sent to the arm per second."""
    swap_gap_ms: float | None = None
    """What a hot swap in this episode added to the cadence of the answers; None where there was none."""


def episode_result(
    *,
    task: str,
    attempt: int,
    instruction: str,
    outcome: RunPolicy.Result,
    statuses: Sequence[ServoStatus],
    reports: Sequence[LatencyReport],
    swap_gap_ms: float | None = None,
) -> EpisodeResult:
    """Summary of one run of the policy from what the graph published during it."""
    ticks, misses, seconds = _servo_progress(statuses)
    duration_s = outcome.duration.sec + outcome.duration.nanosec / NS_PER_S
    hops = [report.hops[0] for report in reports if report.hops and report.hops[0].count]
    return EpisodeResult(
        task=task,
        attempt=attempt,
        instruction=instruction,
        success=outcome.success,
        stopped_for_safety=outcome.outcome in {RunPolicy.Result.INPUT_LOST, RunPolicy.Result.ARM_STOPPED},
        reason=outcome.reason,
        duration_s=duration_s,
        command_rate_hz=ticks / seconds if seconds else 0.0,
        latency_p50_ms=_median([hop.p50_ms for hop in hops]),
        latency_p99_ms=_worst(hops),
        deadline_misses=misses,
        ticks=ticks,
        chunk_rate_hz=outcome.chunks_sent / duration_s if duration_s else 0.0,
        swap_gap_ms=swap_gap_ms,
    )


def _servo_progress(statuses: Sequence[ServoStatus]) -> tuple[int, int, float]:
    """Ticks, misses and seconds between the first and last status; a restart of the servo process in between restarts them."""
    ticks, misses, nanoseconds = 0, 0, 0
    for before, after in itertools.pairwise(statuses):
        if after.ticks < before.ticks:
            continue
        ticks += after.ticks - before.ticks
        misses += after.deadline_misses - before.deadline_misses
        nanoseconds += _nanoseconds(after) - _nanoseconds(before)
    return ticks, misses, nanoseconds / NS_PER_S


def _nanoseconds(status: ServoStatus) -> int:
    return int(status.stamp.sec) * NS_PER_S + int(status.stamp.nanosec)


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _worst(hops: Sequence[LatencyHop]) -> float | None:
    return max((hop.p99_ms for hop in hops), default=None)
