"""Learning rates as pure functions of the step, so that resuming needs no scheduler state."""

import math
from typing import assert_never

from mola_core.training.recipe import ConstantSchedule, CosineSchedule, Schedule, TriStageSchedule


def learning_rate_ratio(schedule: Schedule, *, step: int, steps: int) -> float:
    """Learning rate of ``step`` (0 is the first) of ``steps``, as a ratio of the peak."""
    match schedule:
        case ConstantSchedule():
            return _warm_up(step, schedule.warmup_steps)
        case CosineSchedule():
            if step < schedule.warmup_steps:
                return _warm_up(step, schedule.warmup_steps)
            return _half_cosine(step - schedule.warmup_steps, steps - schedule.warmup_steps, to=schedule.final_ratio)
        case TriStageSchedule():
            return _tri_stage(schedule, step=step, steps=steps)
        case _:
            assert_never(schedule)


def _warm_up(step: int, warmup_steps: int) -> float:
    """From just above zero, so that the first step is not wasted, to one."""
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _half_cosine(step: int, steps: int, *, to: float) -> float:
    progress = min(1.0, step / max(1, steps))
    return to + (1.0 - to) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _tri_stage(schedule: TriStageSchedule, *, step: int, steps: int) -> float:
    warmup = int(steps * schedule.warmup_fraction)
    hold_end = warmup + int(steps * schedule.hold_fraction)
    if step < warmup:
        return schedule.initial_ratio + (1.0 - schedule.initial_ratio) * step / warmup
    if step < hold_end:
        return 1.0
    return _half_cosine(step - hold_end, steps - hold_end, to=schedule.final_ratio)
