"""From a policy's answers to action chunks: when to ask, and how much of an answer is meant to be executed.

Three ways to execute (:class:`ExecutionMode`). In all of them row ``k`` of an answer is due ``k + 1`` periods after the stamp of
what it rests upon, so that the delay of inference is accounted for by the stamps: rows whose time has passed are dropped by the
servo process, and the rest is spliced onto the commanded motion.
"""

from collections import deque
from dataclasses import replace
from enum import Enum
from statistics import median

import numpy as np
from jaxtyping import Float

from mola_core.contracts.geometry import interpolate_poses
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.runtime.policy import PolicyAnswer

_FORGET = 0.95
"""Of the slowest delay seen, at each answer."""
_RECENT = 7
"""Answers of which the usual delay is the median."""


class ExecutionMode(Enum):
    """How much of a chunk is executed before the next one takes over."""

    WHOLE = "whole"
    """All of it, open loop; the next one is computed so that it is there when this one ends."""
    RECEDING = "receding"
    """The model's ``execute_steps`` rows, then the next one."""
    REALTIME = "realtime"
    """Every foresight gives a chunk while the last one runs on, conditioned on the rows that will be executed meanwhile."""


class Pace:
    """Says whether a foresight is worth an answer now. Belongs to one thread."""

    def __init__(self, *, mode: ExecutionMode, io: IoSpec) -> None:
        self.mode = mode
        self.execute_steps = io.horizon if mode is ExecutionMode.WHOLE else io.execute_steps
        """Rows meant to be executed; the rest is the reserve."""
        self._slowest_ns = 0
        self._recent_ns = deque[int](maxlen=_RECENT)

    @property
    def delay_ns(self) -> int:
        """Expected from the oldest input to the chunk.

        The slowest of late where a later chunk costs something: the plan ends (:attr:`ExecutionMode.WHOLE`), or is answered under the
        condition that it comes by then (:attr:`ExecutionMode.REALTIME`). Otherwise the reserve bridges a late one, while an early one
        cuts short what the model meant to be executed: the usual delay, whatever a single hiccup was.
        """
        if self.mode is ExecutionMode.RECEDING and self._recent_ns:
            return round(median(self._recent_ns))
        return self._slowest_ns

    def note_delay(self, delay_ns: int) -> None:
        """How long the last answer took, from its oldest input on."""
        self._recent_ns.append(delay_ns)
        self._slowest_ns = max(delay_ns, round(_FORGET * self._slowest_ns))

    def due_ns(self, running: ActionChunk | None) -> int:
        """When to answer, given the chunk that is being executed: so that the answer arrives as its last meant row does."""
        if running is None or self.mode is ExecutionMode.REALTIME:
            return 0
        return running.start_ns + (self.execute_steps - 1) * running.period_ns - self.delay_ns

    def due(self, running: ActionChunk | None, *, now_ns: int) -> bool:
        """Whether to answer now."""
        return now_ns >= self.due_ns(running)


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


def settled_rows(
    running: ActionChunk, *, stamp_ns: int, period_ns: int, delay_ns: int, at_most: int
) -> Float[np.ndarray, "rows 7"] | None:
    """What of ``running`` will have been executed when the answer to what was seen at ``stamp_ns`` takes over.

    ``ACTION_NAMES``, one row a ``period_ns`` from ``stamp_ns + period_ns`` on, up to ``delay_ns`` after ``stamp_ns``, the first
    ``at_most`` of them; None where there is none, or the running chunk does not cover them.
    """
    num_rows = min(delay_ns // period_ns, at_most)
    if num_rows == 0 or running.space is not ActionSpace.TCP:
        return None
    places = (stamp_ns + period_ns * np.arange(1, num_rows + 1) - running.start_ns) / running.period_ns
    if places[0] < 0 or places[-1] > len(running.targets) - 1:
        return None
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(running.targets) - 1)
    shares = places - before
    poses = [
        interpolate_poses(running.targets[i], running.targets[j], float(share))
        for i, j, share in zip(before, after, shares, strict=True)
    ]
    openings = (1 - shares) * running.gripper_openings[before] + shares * running.gripper_openings[after]
    return np.concatenate([np.stack(poses), openings[:, None]], axis=1)


def slowed(chunk: ActionChunk, *, factor: float, now_ns: int) -> ActionChunk:
    """The same path, from ``now_ns`` on ``factor`` (>= 1) times slower: what is due now stays due now."""
    if factor <= 1.0:
        return chunk
    since_ns = chunk.start_ns - now_ns
    start_ns = chunk.start_ns if since_ns >= 0 else now_ns + round(since_ns * factor)
    return replace(chunk, start_ns=start_ns, period_ns=round(chunk.period_ns * factor))
