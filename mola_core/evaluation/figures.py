"""What many rollouts say: a row for each task, and the mean over tasks, with 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from mola_core.contracts.success_rate import wilson_interval
from mola_core.evaluation.rollout import Rollout


@dataclass(frozen=True, slots=True)
class RateFigures:
    """One row of the table."""

    task: str
    trials: int
    successes: int
    rate: float
    rate_low: float
    rate_high: float
    duration_mean_s: float
    """Of simulated time, successes only; 0 without any."""
    act_mean_ms: float
    failures: list[str]
    """``seed: why`` of every failure."""


def rate_figures(rollouts: Sequence[Rollout]) -> list[RateFigures]:
    """A row for each task in the order of first appearance and, of several, one called ``all`` that pools them."""
    tasks = list(dict.fromkeys(rollout.task for rollout in rollouts))
    rows = [_row(task, [rollout for rollout in rollouts if rollout.task == task]) for task in tasks]
    return [*rows, _row("all", rollouts)] if len(tasks) > 1 else rows


def _row(task: str, rollouts: Sequence[Rollout]) -> RateFigures:
    done = [rollout for rollout in rollouts if rollout.success]
    low, high = wilson_interval(len(done), len(rollouts))
    return RateFigures(
        task=task,
        trials=len(rollouts),
        successes=len(done),
        rate=len(done) / len(rollouts),
        rate_low=low,
        rate_high=high,
        duration_mean_s=sum(rollout.duration_s for rollout in done) / max(len(done), 1),
        act_mean_ms=sum(rollout.act_ms for rollout in rollouts) / len(rollouts),
        failures=[f"{rollout.seed}: {rollout.outcome}" for rollout in rollouts if not rollout.success],
    )
