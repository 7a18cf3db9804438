"""The chunk being executed and the one that takes over from it.

A chunk that starts in the future waits while the present one goes on; one that has begun already is entered where the present
falls, and its earlier rows are dropped as late. Either way it is spliced onto the commanded state of that moment.
"""

import numpy as np

from mola_core.control.fade import Fader
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.motion import JointMotion, MotionLimits
from mola_core.control.reference import Reference
from mola_core.control.servo_types import Rung


class ChunkBuffer:
    """Holds at most two chunks; all stamps are those at which the arm, not the command, shall be there."""

    def __init__(self, *, limits: MotionLimits) -> None:
        self._limits = limits
        self._fader = Fader(limits)
        self._active: Reference | None = None
        self._pending: JointChunk | None = None

    @property
    def active(self) -> Reference | None:
        """The path in force."""
        return self._active

    @property
    def is_empty(self) -> bool:
        """There is nothing to execute, now or later."""
        return self._active is None and self._pending is None

    def put(self, chunk: JointChunk) -> None:
        """Take ``chunk`` as the next one, in place of any other that has not begun.

        The plan in force sent again (with a fresher ``alive_stamp_ns``) is not spliced again.
        """
        if self._active is not None and _is_same_plan(chunk, self._active.chunk):
            self._active.chunk = chunk
            self._pending = None
        else:
            self._pending = chunk

    def clear(self) -> None:
        """Forget everything."""
        self._active = self._pending = None

    def splice_if_due(self, stamp_ns: int, *, motion: JointMotion) -> JointChunk | None:
        """Start the waiting chunk if its first row is due at ``stamp_ns``; returns it if so."""
        chunk = self._pending
        if chunk is None or chunk.start_ns > stamp_ns:
            return None
        self._active = self._spliced(chunk, stamp_ns=stamp_ns, motion=motion)
        self._pending = None
        return chunk

    def splice_again(self, stamp_ns: int, *, motion: JointMotion) -> None:
        """Join the path in force anew from ``motion``, after time went on without the arm."""
        if self._active is not None:
            self._active = self._spliced(self._active.chunk, stamp_ns=stamp_ns, motion=motion)

    def rung(self, stamp_ns: int) -> Rung:
        """Rung of the degradation ladder at ``stamp_ns``."""
        if self._active is None:
            return Rung.HOLD
        row, chunk = self._active.row_at(stamp_ns), self._active.chunk
        if row >= chunk.horizon:
            return Rung.HOLD
        return Rung.PLAN if chunk.final or row < chunk.execute_steps else Rung.RESERVE

    def gripper_opening(self, stamp_ns: int) -> float | None:
        """Opening asked for by the row in force."""
        if self._active is None:
            return None
        chunk = self._active.chunk
        row = max(0, min(self._active.row_at(stamp_ns), chunk.horizon - 1))
        return float(chunk.gripper_openings[row])

    def has_run_out(self, stamp_ns: int) -> bool:
        """The chunk in force has no row left and no other one waits."""
        return self._pending is None and self.rung(stamp_ns) is Rung.HOLD

    def _spliced(self, chunk: JointChunk, *, stamp_ns: int, motion: JointMotion) -> Reference:
        return Reference(chunk, spliced_ns=stamp_ns, start=motion, fader=self._fader, limits=self._limits)


def _is_same_plan(chunk: JointChunk, other: JointChunk) -> bool:
    return (
        chunk.start_ns == other.start_ns
        and chunk.period_ns == other.period_ns
        and chunk.source == other.source
        and np.array_equal(chunk.joint_targets, other.joint_targets)
    )


def late_rows(chunk: JointChunk, *, stamp_ns: int) -> int:
    """How many rows of ``chunk`` were meant for before ``stamp_ns``."""
    return max(0, min(chunk.horizon, -((chunk.start_ns - stamp_ns) // chunk.period_ns)))


def first_target(chunk: JointChunk, *, stamp_ns: int) -> list[float]:
    """Joint positions of the first row that can still be met at ``stamp_ns``, or of the last one."""
    row = min(late_rows(chunk, stamp_ns=stamp_ns), chunk.horizon - 1)
    positions: list[float] = chunk.joint_targets[row].tolist()
    return positions
