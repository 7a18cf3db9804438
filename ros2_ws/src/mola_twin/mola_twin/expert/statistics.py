"""What many trials say: success rates with their uncertainty, durations, speed."""

from collections.abc import Sequence
from dataclasses import dataclass

from mola_core.contracts.success_rate import wilson_interval
from mola_twin.expert.trials import Trial


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """One task's row of the table."""

    task: str
    trials: int
    successes: int
    rate: float
    rate_low: float
    rate_high: float
    duration_mean_s: float
    duration_max_s: float
    retried: int
    """Trials that took more than one attempt."""
    failures: list[str]
    """``seed: why`` of every failure."""


def task_figures(trials: Sequence[Trial]) -> list[TaskFigures]:
    """A row for each task, in the order of first appearance."""
    return [
        _row(task, [trial for trial in trials if trial.task == task]) for task in dict.fromkeys(t.task for t in trials)
    ]


def _row(task: str, trials: list[Trial]) -> TaskFigures:
    successes = sum(trial.success for trial in trials)
    low, high = wilson_interval(successes, len(trials))
    durations = [trial.duration_s for trial in trials]
    return TaskFigures(
        task=task,
        trials=len(trials),
        successes=successes,
        rate=successes / len(trials),
        rate_low=low,
        rate_high=high,
        duration_mean_s=sum(durations) / len(durations),
        duration_max_s=max(durations),
        retried=sum(trial.attempts > 1 for trial in trials),
        failures=[f"{trial.seed}: {trial.outcome}" for trial in trials if not trial.success],
    )
