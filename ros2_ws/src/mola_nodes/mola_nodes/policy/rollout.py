"""One run of a policy through the graph: a chunk whenever more has been seen, until something ends it, then to rest."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from mola_interfaces.action import RunPolicy

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.types import ActionChunk
from mola_nodes.policy.inputs import NewestInputs

_PATIENCE_S = 2.0
_REST_S = 2.0
_REST_TAIL_NS = 250 * NS_PER_MS
"""How much of the last plan is still executed while coming to rest."""


class Planner(Protocol):
    """Where the chunks of one run come from. Called in the run's thread."""

    @property
    def phase(self) -> str:
        """What it is doing, for people."""
        ...

    def refusal(self) -> str:
        """Why it cannot begin; empty if it can."""
        ...

    def plan(self) -> ActionChunk | None:
        """The plan as of now; None where there is nothing newer than the last, which then stands.

        Its source, sequence and ``alive_stamp_ns`` are filled in by the run.

        Raises:
            MolaError: it cannot go on.
        """
        ...

    def ending(self) -> "RolloutEnd | None":
        """How it ended, if the planner itself can tell that it is over."""
        ...


@dataclass(frozen=True, slots=True)
class RolloutEnd:
    """Why a rollout ended; ``outcome`` is one of the constants of ``RunPolicy.Result``."""

    outcome: int
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Said after every chunk."""

    stamp_ns: int
    phase: str
    elapsed_ns: int
    chunks_sent: int


class Rollout:
    """Blocks in a thread of its own; ``send`` publishes a chunk, ``next_sequence`` numbers it."""

    def __init__(
        self,
        *,
        source: str,
        planner: Planner,
        inputs: NewestInputs,
        send: Callable[[ActionChunk], None],
        next_sequence: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._source = source
        self._planner = planner
        self._inputs = inputs
        self._send = send
        self._next_sequence = next_sequence
        self._clock = clock
        self._last: ActionChunk | None = None
        self._start_ns = 0
        self._rejected_before = 0
        self._rejection = ""
        self.chunks_sent = 0

    @property
    def elapsed_ns(self) -> int:
        """Since the rollout began."""
        return self._clock.monotonic_ns() - self._start_ns

    def run(
        self, *, time_limit_ns: int, cancelled: Callable[[], bool], progress: Callable[[Progress], None]
    ) -> RolloutEnd:
        """Act until it is done, time limit, cancellation, lost inputs or a stopped arm; leave the arm at rest."""
        self._start_ns = self._clock.monotonic_ns()
        servo = self._inputs.servo
        self._rejected_before = 0 if servo is None else int(servo.chunks_rejected)
        try:
            ending = self._refusal() or self._act(time_limit_ns, cancelled=cancelled, progress=progress)
        except MolaError as error:
            ending = RolloutEnd(RunPolicy.Result.FAILED, str(error))
        if ending.outcome not in {RunPolicy.Result.INPUT_LOST, RunPolicy.Result.ARM_STOPPED}:
            self._come_to_rest()
        return ending

    def _refusal(self) -> RolloutEnd | None:
        refusal = self._planner.refusal()
        if refusal:
            return RolloutEnd(RunPolicy.Result.FAILED, refusal)
        if not self._inputs.servo_is_engaged:
            return self._arm_stopped()
        missing = self._wait_for_inputs()
        return RolloutEnd(RunPolicy.Result.INPUT_LOST, missing) if missing else None

    def _wait_for_inputs(self) -> str:
        """Nothing moves yet, so a camera that stutters (a world being reset, a node just started) may catch up first."""
        deadline_ns = self._clock.monotonic_ns() + round(_PATIENCE_S * NS_PER_S)
        seen_ns: int | None = 0
        while (missing := self._inputs.missing()) and self._clock.monotonic_ns() < deadline_ns:
            seen_ns = self._inputs.wait_seen(after_ns=seen_ns or 0, timeout_s=_PATIENCE_S / 10)
            if seen_ns is None:
                self._clock.sleep_until(self._clock.monotonic_ns() + 10 * NS_PER_MS)
        return missing

    def _act(
        self, time_limit_ns: int, *, cancelled: Callable[[], bool], progress: Callable[[Progress], None]
    ) -> RolloutEnd:
        seen_ns = 0
        while True:
            seen_ns = self._inputs.wait_seen(after_ns=seen_ns, timeout_s=self._inputs.lost_after_s) or 0
            missing = self._inputs.missing()
            if missing or not seen_ns:
                return RolloutEnd(RunPolicy.Result.INPUT_LOST, missing or "nothing new is seen")
            if cancelled():
                return RolloutEnd(RunPolicy.Result.CANCELLED, "cancelled")
            if self.elapsed_ns > time_limit_ns:
                return RolloutEnd(RunPolicy.Result.TIME_LIMIT, f"not done within {time_limit_ns / NS_PER_S:g} s")
            if not self._inputs.servo_is_engaged:
                return self._arm_stopped()
            self._note_rejection()
            ending = self._planner.ending()
            if ending is not None:
                return ending
            chunk = self._step()
            if chunk is not None:
                progress(Progress(chunk.stamp_ns, self._planner.phase, self.elapsed_ns, self.chunks_sent))

    def _step(self) -> ActionChunk | None:
        """Send the newest plan: a new one, or the last once more to say that its source still stands by it."""
        plan = self._planner.plan() or self._last
        return None if plan is None else self._publish(plan)

    def _publish(self, chunk: ActionChunk) -> ActionChunk:
        alive_ns = max(chunk.stamp_ns, self._inputs.oldest_stamp_ns())
        sent = replace(chunk, source=self._source, sequence=self._next_sequence(), alive_stamp_ns=alive_ns)
        self._send(sent)
        self._last = sent
        self.chunks_sent += 1
        return sent

    def _note_rejection(self) -> None:
        """While the arm is engaged, a chunk is refused for what it asks; a plan that is not taken lets the arm stop as stale."""
        servo = self._inputs.servo
        if servo is not None and servo.chunks_rejected > self._rejected_before:
            self._rejection, self._rejected_before = str(servo.last_rejection), int(servo.chunks_rejected)

    def _come_to_rest(self) -> None:
        """End on the path: the next quarter of a second of the last plan, said to be final, until the arm holds."""
        if self._last is None:
            return
        tail = shortened(self._last, until_ns=self._clock.now_ns() + _REST_TAIL_NS)
        deadline_ns = self._clock.monotonic_ns() + round(_REST_S * NS_PER_S)
        seen_ns: int | None = 0
        while seen_ns is not None and self._clock.monotonic_ns() < deadline_ns:
            self._publish(replace(tail, stamp_ns=self._inputs.oldest_stamp_ns()))
            seen_ns = self._inputs.wait_seen(after_ns=seen_ns, timeout_s=self._inputs.lost_after_s)
            if not self._inputs.servo_executes:
                return

    def _arm_stopped(self) -> RolloutEnd:
        servo = self._inputs.servo
        why = "no word from the controller" if servo is None else servo.reason
        if self._rejection:
            why += f"; before, a chunk was refused: {self._rejection}"
        return RolloutEnd(RunPolicy.Result.ARM_STOPPED, f"the arm is stopped ({why}); resume it")


def shortened(chunk: ActionChunk, *, until_ns: int) -> ActionChunk:
    """The plan of ``chunk`` up to ``until_ns`` (at least its first row), as the last one of its source."""
    rows = int(np.clip((until_ns - chunk.start_ns) // chunk.period_ns + 1, 1, len(chunk.targets)))
    return replace(
        chunk,
        targets=chunk.targets[:rows],
        gripper_openings=chunk.gripper_openings[:rows],
        execute_steps=rows,
        final=True,
    )
