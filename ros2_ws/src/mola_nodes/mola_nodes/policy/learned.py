"""The learned policy as a planner: each foresight becomes, at its pace, an answer and a chunk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from mola_interfaces.action import RunPolicy

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.plan_age import INFERENCE_NS, why_outlived
from mola_core.contracts.site import SafetySpec
from mola_core.contracts.types import ActionChunk
from mola_core.runtime.divergence import Divergence, DivergenceGuard, DivergenceMeter, Measure, comparable
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.observation import state_row
from mola_core.runtime.planning import ExecutionMode, Pace, chunk_of, settled_rows, slowed
from mola_core.runtime.policy import Actor, PolicyAnswer
from mola_core.runtime.slot import EngineSlot, Half
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.policy.foresights import NewestForesights
from mola_nodes.policy.lateness import Lateness
from mola_nodes.policy.rollout import RolloutEnd
from mola_nodes.policy.shadow import ShadowTally
from mola_nodes.policy.states import StateHistory, StateMissingError
from mola_nodes.policy.tally import RunTally

_FIRST_FORESIGHT_S = 10.0
_TAKEOVER_MS = 500.0
"""From noticing that a bundle is broken to the first chunk of the one before it."""
_DIVERGENCE_TOLERANCE_NS = 40 * NS_PER_MS


class ActorHalf(Half, Protocol):
    """The second half of a bundle, loaded."""

    @property
    def actor(self) -> Actor: ...

    @property
    def io(self) -> IoSpec: ...


@dataclass(frozen=True)
class PlannerParts:
    """What outlives the runs."""

    slot: EngineSlot[ActorHalf]
    foresights: NewestForesights
    states: StateHistory
    runs: RunTally
    shadow: ShadowTally
    calls: BoundedCalls[Any]
    """For whatever waits for an engine or its device."""
    before_answer: Callable[[ActorHalf], None]
    """Whatever has to be set on an actor before it answers."""
    on_answer: Callable[[ActorHalf, PolicyAnswer], None]
    """Every answer that becomes a chunk, and whose it is."""
    on_divergence: Callable[[str, Divergence, DivergenceGuard], None]
    ask: Callable[[], None]
    """Has the imagination look now."""
    clock: Clock


class LearnedPlanner:
    """Behind :class:`mola_nodes.policy.rollout.Planner`; one a run."""

    def __init__(
        self,
        parts: PlannerParts,
        *,
        instruction: str,
        mode: ExecutionMode,
        safety: SafetySpec,
        done: Callable[[], bool],
        late_ms: float,
    ) -> None:
        """``done`` says that somebody who can judge it has called the task done; ``late_ms`` is for :class:`Lateness`."""
        self._parts = parts
        self._instruction = instruction
        self._mode = mode
        self._done = done
        self._late_ms = late_ms
        self._lateness = Lateness(late_ms)
        self._meter = DivergenceMeter(tolerance_ns=_DIVERGENCE_TOLERANCE_NS)
        self._guard = DivergenceGuard(safety)
        self._followed_ns = safety.max_observation_age_ms * NS_PER_MS
        self._pace: Pace | None = None
        """Of the running plan's bundle."""
        self._running: ActionChunk | None = None
        self._asked = False
        """Since the last foresight came."""
        self._begun_ns = parts.clock.monotonic_ns()

    @property
    def phase(self) -> str:
        """The bundle that acts and how."""
        if self._running is None:
            return "waiting for the first foresight"
        return f"{self._running.bundle_id}, {self._mode.value}, {self._guard.measure.value}"

    def refusal(self) -> str:
        """No bundle in service, or one whose plans, as long as this mode executes them, the site would not follow to their end."""
        serving = self._parts.slot.report().serving
        half = self._parts.slot.get(serving) if serving else None
        if half is None:
            return "no bundle is in service; load one: mola engine load"
        rows = Pace(mode=self._mode, io=half.io).execute_steps
        outlived = why_outlived(
            executed_ns=rows * half.io.contract.period_ns,
            inference_ns=INFERENCE_NS,
            limit_ns=self._followed_ns,
        )
        return outlived and f"bundle {serving}, mode {self._mode.value}: {outlived}; raise it, or choose another mode"

    def ending(self) -> RolloutEnd | None:
        """Called done by somebody, given up for divergence, or never begun."""
        if self._done():
            return RolloutEnd(RunPolicy.Result.SUCCEEDED, "done")
        if self._guard.measure is Measure.STOPPED:
            return RolloutEnd(RunPolicy.Result.FAILED, "what was imagined is too far from what happened")
        waited_s = (self._parts.clock.monotonic_ns() - self._begun_ns) / 1e9
        if self._running is None and waited_s > _FIRST_FORESIGHT_S:
            return RolloutEnd(
                RunPolicy.Result.INPUT_LOST, f"no foresight for {waited_s:.0f} s; is imagination running?"
            )
        return None

    def wait(self, timeout_s: float) -> bool:
        """Whether a foresight came within ``timeout_s``; where an answer is due, or becomes due meanwhile, one is asked for."""
        foresights = self._parts.foresights
        if not self._asked:
            due_ns = 0 if self._pace is None else self._pace.due_ns(self._running)
            left_s = max((due_ns - self._parts.clock.now_ns()) / NS_PER_S, 0.0)
            if foresights.wait(min(left_s, timeout_s)):
                return True  # before it is due, unasked for: looked at first
            if left_s > timeout_s:
                return False
            self._ask()
        return foresights.wait(timeout_s)

    def _ask(self) -> None:
        self._parts.ask()
        self._asked = True

    def plan(self) -> ActionChunk | None:
        """The answer to the newest foresight, if one is due."""
        foresight = self._parts.foresights.take()
        if foresight is None:
            return None
        self._asked = False
        if foresight.instruction != self._instruction:
            return None
        self._parts.slot.active()  # what was retired may go
        half = self._parts.slot.get(foresight.bundle_id)
        if half is None or not self._judge(foresight):
            return None
        if self._pace is not None and not self._pace.due(self._running, now_ns=self._parts.clock.now_ns()):
            return None
        pace = self._pace_of(half)
        if self._mode is ExecutionMode.REALTIME:
            self._ask()  # the next is imagined while this one is answered
        answer = self._answer(half, foresight, pace=pace)
        if answer is None:
            return None
        chunk = chunk_of(answer, io=half.io, execute_steps=pace.execute_steps, bundle_id=half.bundle_id)
        now_ns = self._parts.clock.now_ns()
        pace.note_delay(now_ns - answer.stamp_ns)
        if self._guard.measure is Measure.SLOWED:
            chunk = slowed(chunk, factor=1.0 / self._guard.speed, now_ns=now_ns)
        self._running, self._pace = chunk, pace
        self._parts.shadow.remember(answer)
        self._parts.on_answer(half, answer)
        return chunk

    def _pace_of(self, half: ActorHalf) -> Pace:
        """That of the running plan as long as its bundle answers; how long another one takes, it has to show first."""
        if self._pace is not None and self._running is not None and self._running.bundle_id == half.bundle_id:
            return self._pace
        pace = Pace(mode=self._mode, io=half.io)
        if self._pace is not None:
            pace.note_delay(self._pace.delay_ns)
        return pace

    def _judge(self, foresight: Foresight) -> bool:
        """Hold it against what was imagined before; False where the half erred over it and is taken out of service."""
        try:
            seen = self._parts.calls.call(lambda: comparable(foresight), limit_s=self._patience_ms() / 1000.0)
        except (MolaError, RuntimeError) as error:
            self._parts.slot.fail(foresight.bundle_id, f"its foresight cannot be read: {error}")
            return False
        divergence = self._meter.update(seen)
        if divergence is not None:
            self._guard.judge(divergence)
            self._parts.on_divergence(foresight.bundle_id, divergence, self._guard)
        return True

    def _answer(self, half: ActorHalf, foresight: Foresight, *, pace: Pace) -> PolicyAnswer | None:
        """None where the half erred: it is taken out of service, and the running plan goes on meanwhile.

        Raises:
            RuntimeInputError: the rig does not say what a policy has to know; no bundle is to blame.
        """
        try:
            row, seed = state_row(self._parts.states.at(foresight.stamp_ns)), foresight.noise_seed
        except StateMissingError:
            return None
        settled = None
        if self._running is not None:
            settled = settled_rows(
                self._running,
                stamp_ns=foresight.stamp_ns,
                period_ns=half.io.contract.period_ns,
                delay_ns=pace.delay_ns,
                at_most=half.actor.max_settled,
            )
        begin_ns = self._parts.clock.monotonic_ns()
        try:
            self._parts.before_answer(half)
            answer = self._parts.calls.call(
                lambda: half.actor.act(foresight, state=row, noise_seed=seed, settled=settled),
                limit_s=self._patience_ms() / 1000.0,
            )
            problem = problem_of(answer)
        except (MolaError, RuntimeError) as error:
            answer, problem = None, str(error)
        now_ns = self._parts.clock.monotonic_ns()
        duration_ms = (now_ns - begin_ns) / NS_PER_MS
        problem = problem or self._lateness.judge(half.bundle_id, duration_ms)
        if problem:
            self._parts.slot.fail(half.bundle_id, problem)
            return None
        self._parts.runs.note(half.bundle_id, duration_ms=duration_ms, now_ns=now_ns)
        return answer

    def _patience_ms(self) -> float:
        """How long the answer may take: while the running plan lasts, another bundle can still take over without the arm stopping."""
        if self._running is None:
            return self._late_ms + self._lateness.patience_ms
        last_ns = self._running.start_ns + (len(self._running.targets) - 1) * self._running.period_ns
        left_ms = (last_ns - self._parts.clock.now_ns()) / NS_PER_MS
        return min(max(left_ms - _TAKEOVER_MS, self._late_ms), self._lateness.patience_ms)


def problem_of(answer: PolicyAnswer) -> str:
    """Why the answer must not be executed; empty where nothing is wrong with it."""
    if not (np.isfinite(answer.targets).all() and np.isfinite(answer.openings).all()):
        return "its actions are not finite"
    return ""
