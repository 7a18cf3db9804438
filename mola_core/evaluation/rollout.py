"""One seeded episode of a policy on a lockstep rig, and what came of it.

Time is the rig's: while a policy "computes", the arm goes on with the plan it has, for exactly as long as is said. A plan is sent
again with a fresh sign of life, as the policy node does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.plan_age import why_outlived
from mola_core.contracts.rig import LockstepRig
from mola_core.contracts.types import ActionChunk
from mola_core.evaluation.errors import EvaluationError
from mola_core.evaluation.sources import ChunkSource, Decision

SLICE_NS = 50 * NS_PER_MS
"""The plan is confirmed, and the verdict asked for, this often."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One start to roll out from."""

    task: str
    seed: int
    variant: str = "id"


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """How time passes."""

    delay_ns: int = 0
    """Simulated inference: from the observation to the moment at which its chunk reaches the arm."""
    untold: bool = False
    """Whether the policy is not told what is executed meanwhile."""
    time_limit_s: float | None = None
    """None: the task's own."""


@dataclass(frozen=True)
class Rollout:
    """How an episode ended."""

    task: str
    seed: int
    variant: str
    instruction: str
    success: bool
    outcome: str
    """``done``, or why not."""
    duration_s: float
    """Of simulated time."""
    wall_s: float
    chunks: int
    rejected: int
    """Chunks that did not pass the door; the arm went on with the one before."""
    act_ms: float
    """Mean wall time of one decision, views included."""


Watcher = Callable[[LockstepRig, Decision | None], None]
"""Called before every slice of time with the newest decision."""


@dataclass
class _Run:
    """What changes during an episode."""

    limit_s: float
    watch: Watcher | None
    decision: Decision | None = None
    current: ActionChunk | None = None
    sequence: int = 0
    chunks: int = 0
    rejections: list[str] = field(default_factory=list)
    deciding_s: float = 0.0


def roll_out(
    rig: LockstepRig,
    source: ChunkSource,
    episode: Episode,
    *,
    settings: RolloutSettings,
    watch: Watcher | None = None,
) -> Rollout:
    """From reset to success, a stopped arm or the time limit; ``watch`` looks on (for films).

    Raises:
        EvaluationError: the settings ask the rig to follow plans older than it accepts.
    """
    begin = time.perf_counter()
    check_ages(rig, source, settings=settings)
    start = rig.reset(task=episode.task, seed=episode.seed, variant=episode.variant)
    source.begin(start)
    run = _Run(limit_s=settings.time_limit_s or start.time_limit_s, watch=watch)
    ending = None
    while ending is None:
        run.decision = _decide(rig, source, run=run)
        ending = _pass(rig, run, duration_ns=settings.delay_ns)
        if ending is None:
            _take(rig, run)
            ending = _pass(rig, run, duration_ns=max(source.execute_ns - settings.delay_ns, SLICE_NS))
    if run.rejections and ending != "done":
        ending = f"{ending}; {len(run.rejections)} chunks refused, the first: {run.rejections[0]}"
    return Rollout(
        task=episode.task,
        seed=episode.seed,
        variant=episode.variant,
        instruction=start.instruction,
        success=ending == "done",
        outcome=ending,
        duration_s=rig.elapsed_s(),
        wall_s=time.perf_counter() - begin,
        chunks=run.chunks,
        rejected=len(run.rejections),
        act_ms=1e3 * run.deciding_s / max(run.chunks, 1),
    )


def check_ages(rig: LockstepRig, source: ChunkSource, *, settings: RolloutSettings) -> None:
    """Refuse what would make the arm stop in every episode: plans followed for longer than the site allows."""
    reason = why_outlived(executed_ns=source.execute_ns, inference_ns=settings.delay_ns, limit_ns=rig.max_plan_age_ns)
    if reason:
        raise EvaluationError(f"{reason}; use fewer --execute-steps, a shorter --delay-ms, or raise the site's limit")


def _decide(rig: LockstepRig, source: ChunkSource, *, run: _Run) -> Decision | None:
    begin = time.perf_counter()
    view = rig.observe() if source.wants_views else None
    decision = source.decide(rig, view)
    run.deciding_s += time.perf_counter() - begin
    run.chunks += decision is not None
    return decision


def _take(rig: LockstepRig, run: _Run) -> None:
    """Replace the plan in force, unless the door refuses the new one."""
    decision = run.decision
    if decision is None:
        return
    try:
        _send(rig, run, decision.chunk, duration_ns=0)
    except ChunkRejectedError as error:
        run.rejections.append(str(error))
    else:
        run.current = decision.chunk


def _pass(rig: LockstepRig, run: _Run, *, duration_ns: int) -> str | None:
    """Let time pass under the plan in force; why the episode ended, or None."""
    left_ns = duration_ns
    while left_ns > 0:
        slice_ns = min(left_ns, SLICE_NS)
        if run.watch is not None:
            run.watch(rig, run.decision)
        try:
            _send(rig, run, run.current, duration_ns=slice_ns)
        except ChunkRejectedError as error:  # too old to be confirmed: the arm brakes as stale
            run.rejections.append(str(error))
            run.current = None
            rig.step(None, duration_ns=slice_ns)
        left_ns -= slice_ns
        if rig.stop_reason:
            return f"the arm stopped: {rig.stop_reason}"
        verdict = rig.verdict()
        if verdict.done:
            return "done"
        if rig.elapsed_s() >= run.limit_s:
            return f"time limit of {run.limit_s:g} s: {verdict.reason}"
    return None


def _send(rig: LockstepRig, run: _Run, chunk: ActionChunk | None, *, duration_ns: int) -> None:
    if chunk is None:
        rig.step(None, duration_ns=duration_ns)
        return
    run.sequence += 1
    rig.step(replace(chunk, sequence=run.sequence, alive_stamp_ns=_alive(rig, chunk)), duration_ns=duration_ns)


def _alive(rig: LockstepRig, chunk: ActionChunk) -> int:
    return max(chunk.stamp_ns, rig.now_ns())
