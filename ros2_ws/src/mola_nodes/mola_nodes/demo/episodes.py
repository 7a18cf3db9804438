"""One episode a task: what the operator saw, in figures."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import LatencyReport, ServoStatus

from mola_core.contracts.clock import NS_PER_S
from mola_nodes.conversions.servo import CAMERA_TO_SERVO
from mola_nodes.conversions.wire import ns_from_time
from mola_nodes.demo.hops import HopFigures, hops_of


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
    plans: int
    """Distinct action chunks sent to the arm: answers of the policy."""
    plan_rate_hz: float
    messages: int
    """Chunk messages: a running plan is said again whenever every camera has shown something newer."""
    message_rate_hz: float
    hops: tuple[HopFigures, ...]
    """Camera to servo (age of the oldest input of a plan at the tick that first executes it), then its parts; of the reports that
    came during the episode."""
    deadline_misses: int
    """Servo ticks that began later than one period."""
    ticks: int
    swap_gap_ms: float | None = None
    """What a hot swap in this episode added to the cadence of the answers; None where there was none."""

    @property
    def camera_to_servo(self) -> HopFigures | None:
        """The whole path; None where no plan was executed."""
        return next((hop for hop in self.hops if hop.name == CAMERA_TO_SERVO), None)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the graph published during one run of the policy."""

    statuses: Sequence[ServoStatus]
    reports: Sequence[LatencyReport]
    plans: int
    """Distinct plans."""


def episode_result(
    *,
    task: str,
    attempt: int,
    instruction: str,
    outcome: RunPolicy.Result,
    heard: Heard,
    swap_gap_ms: float | None = None,
) -> EpisodeResult:
    """Summary of one run of the policy."""
    ticks, misses, seconds = _servo_progress(heard.statuses)
    duration_s = outcome.duration.sec + outcome.duration.nanosec / NS_PER_S
    return EpisodeResult(
        task=task,
        attempt=attempt,
        instruction=instruction,
        success=outcome.success,
        stopped_for_safety=outcome.outcome in {RunPolicy.Result.INPUT_LOST, RunPolicy.Result.ARM_STOPPED},
        reason=outcome.reason,
        duration_s=duration_s,
        command_rate_hz=ticks / seconds if seconds else 0.0,
        plans=heard.plans,
        plan_rate_hz=heard.plans / duration_s if duration_s else 0.0,
        messages=outcome.chunks_sent,
        message_rate_hz=outcome.chunks_sent / duration_s if duration_s else 0.0,
        hops=hops_of(heard.reports),
        deadline_misses=misses,
        ticks=ticks,
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
        nanoseconds += ns_from_time(after.stamp) - ns_from_time(before.stamp)
    return ticks, misses, nanoseconds / NS_PER_S
