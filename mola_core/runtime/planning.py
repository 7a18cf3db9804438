"""From a policy's answers to action chunks: when to ask, and what of an answer is meant to be executed.

Three ways to execute (:class:`ExecutionMode`). In all of them row ``k`` of an answer is due ``k + 1`` periods after the stamp of
what it rests upon, so that the delay of inference is accounted for by the stamps: rows whose time has passed are dropped by the
servo process, and the rest is spliced onto the commanded motion.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float

from mola_core.contracts.geometry import interpolate_poses
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.runtime.policy import PolicyAnswer


class ExecutionMode(Enum):
    """How much of a chunk is executed before the next one takes over."""

    WHOLE = "whole"
    """All of it, open loop; the next one is computed so that it is there when this one ends."""
    RECEDING = "receding"
    """The model's ``execute_steps`` rows, then the next one."""
    REALTIME = "realtime"
    """Every foresight gives a chunk while the last one runs on, conditioned on the rows that will be executed meanwhile."""


@dataclass(frozen=True)
class Committed:
    """Rows of the running plan that will have been executed before the next answer can take over."""

    targets: Float[np.ndarray, "rows 6"]
    openings: Float[np.ndarray, "rows"]


class Pace:
    """Says whether a foresight is worth an answer now. Belongs to one thread."""

    def __init__(self, *, mode: ExecutionMode, io: IoSpec) -> None:
        self.mode = mode
        self._io = io
        self._delay_ns = 0

    def note_delay(self, delay_ns: int) -> None:
        """How long it took from the oldest input to the chunk; the slowest of late counts, and is forgotten slowly."""
        self._delay_ns = max(delay_ns, round(0.9 * self._delay_ns))

    @property
    def delay_ns(self) -> int:
        """Expected from oldest input to chunk."""
        return self._delay_ns

    def due(self, running: ActionChunk | None, *, now_ns: int) -> bool:
        """Whether to answer now, given the chunk that is being executed."""
        if running is None or self.mode is ExecutionMode.REALTIME:
            return True
        rows = self._io.horizon if self.mode is ExecutionMode.WHOLE else self._io.execute_steps
        # row k is reached one period after row k - 1: the next chunk's second row joins where the last executed one ends
        ends_ns = running.start_ns + (rows - 1) * running.period_ns
        return now_ns + self._delay_ns >= ends_ns

    def execute_steps(self) -> int:
        """Rows meant to be executed; the rest is the reserve."""
        return self._io.horizon if self.mode is ExecutionMode.WHOLE else self._io.execute_steps


def chunk_of(answer: PolicyAnswer, *, io: IoSpec, execute_steps: int, bundle_id: str) -> ActionChunk:
    """The chunk that an answer means; source, sequence and ``alive_stamp_ns`` are its sender's to fill in."""
    period_ns = io.contract.period_ns
    return ActionChunk(
        sequence=0,
        source="",
        bundle_id=bundle_id,
        stamp_ns=answer.stamp_ns,
        alive_stamp_ns=answer.stamp_ns,
        start_ns=answer.stamp_ns + period_ns,
        period_ns=period_ns,
        space=ActionSpace.TCP,
        targets=answer.targets,
        gripper_openings=answer.openings,
        execute_steps=min(execute_steps, len(answer.targets)),
        final=False,
    )


def committed_rows(running: ActionChunk, *, stamp_ns: int, delay_ns: int) -> Committed | None:
    """What of ``running`` will be executed before an answer to what was seen at ``stamp_ns`` can take over.

    One row a period from ``stamp_ns + period`` on; None where the running chunk does not reach that far or has ended.
    """
    rows = -(-delay_ns // running.period_ns)
    dues_ns = stamp_ns + running.period_ns * np.arange(1, rows + 1)
    last_ns = running.start_ns + (len(running.targets) - 1) * running.period_ns
    dues_ns = dues_ns[(dues_ns >= running.start_ns) & (dues_ns <= last_ns)]
    if len(dues_ns) < rows or rows == 0:
        return None
    places = (dues_ns - running.start_ns) / running.period_ns
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(running.targets) - 1)
    shares = places - before
    targets = np.stack(
        [
            interpolate_poses(running.targets[i], running.targets[j], share=float(share))
            for i, j, share in zip(before, after, shares, strict=True)
        ]
    )
    openings = (1 - shares) * running.gripper_openings[before] + shares * running.gripper_openings[after]
    return Committed(targets=targets, openings=openings)


def stretched(chunk: ActionChunk, *, factor: float, now_ns: int) -> ActionChunk:
    """The same path from ``now_ns`` on, ``factor`` (>= 1) times slower."""
    if factor <= 1.0:
        return chunk
    passed_ns = max(now_ns - chunk.start_ns, 0)
    period_ns = round(chunk.period_ns * factor)
    # what is due now stays due now
    return _moved(chunk, start_ns=now_ns - round(passed_ns * factor) if passed_ns else chunk.start_ns, period_ns=period_ns)


def _moved(chunk: ActionChunk, *, start_ns: int, period_ns: int) -> ActionChunk:
    from dataclasses import replace  # noqa: PLC0415

    return replace(chunk, start_ns=start_ns, period_ns=period_ns)
