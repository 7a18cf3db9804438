"""One seeded episode of the expert in lockstep, and what came of it."""

import time
from dataclasses import dataclass

from mola_twin.expert.expert import make_expert
from mola_twin.expert.noise import RecoveryNoise
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import task_spec

ACT_PERIOD_S = 0.1
"""The expert is asked, and both views are rendered, at 10 Hz of simulated time."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One episode's outcome."""

    task: str
    seed: int
    variant: str
    success: bool
    duration_s: float
    """Simulated time until the expert was done, or gave up, or time ran out."""
    wall_s: float
    attempts: int
    outcome: str
    """``done``, or why not: the unmet conditions, or why the servo stopped."""


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """How episodes are run."""

    variant: str = "id"
    render_px: int | None = None
    """Side of both views rendered at 10 Hz; None renders nothing."""
    noise: bool = False
    """Make and recover from mistakes, as for demonstrations."""


def run_trial(rig: LockstepRig, *, task: str, seed: int, settings: TrialSettings) -> Trial:
    """One episode from reset to the end."""
    begin = time.perf_counter()
    rig.reset(task=task, seed=seed, variant=settings.variant)
    noise = RecoveryNoise(detour_probability=0.5, aim_m=0.01, seed=seed) if settings.noise else None
    expert = make_expert(task, rig.site, noise=noise)
    limit_s = task_spec(task).time_limit_s
    while True:
        seen = rig.observe(
            render=settings.render_px is not None,
            width=settings.render_px or 128,
            height=settings.render_px or 128,
        )
        chunk = expert.act(truth=seen.truth, state=seen.state, now_ns=rig.clock.now_ns())
        rig.step(chunk, duration_s=ACT_PERIOD_S)
        verdict = rig.success()
        elapsed_s = rig.cell.elapsed_s
        if not rig.engaged:
            outcome = f"servo stopped in {expert.stage}: {rig.stop_reason}"
        elif chunk.final:
            outcome = "done" if verdict.done else unmet(verdict.conditions)
        elif elapsed_s >= limit_s:
            outcome = f"time limit in {expert.stage}: {unmet(verdict.conditions)}"
        else:
            continue
        return Trial(
            task=task,
            seed=seed,
            variant=settings.variant,
            success=verdict.done and rig.engaged,
            duration_s=elapsed_s,
            wall_s=time.perf_counter() - begin,
            attempts=expert.num_attempts,
            outcome=outcome,
        )


def unmet(conditions: dict[str, bool]) -> str:
    """Which conditions keep a task from being done."""
    missing = [name for name, holds in conditions.items() if not holds]
    return f"not {', '.join(missing)}" if missing else "met, but not for long enough"
