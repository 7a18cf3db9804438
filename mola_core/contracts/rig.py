"""A rig that moves only when told to, as the evaluation of policies knows it.

Packages offer theirs under the entry point group ``mola.rigs``: a callable that takes the path of a site file and returns a
:class:`LockstepRig`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from mola_core.contracts.types import ActionChunk, RobotState

RIG_GROUP = "mola.rigs"


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """What distinguishes one start from another; the same three words give the same start, bit for bit."""

    task: str
    seed: int
    variant: str
    instruction: str
    time_limit_s: float


@dataclass(frozen=True)
class RigView:
    """What the rig shows at one instant."""

    stamp_ns: int
    frames: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    """Colour by camera, as the site's streams deliver them."""
    state: RobotState


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the task is done, and what is missing."""

    done: bool
    reason: str
    """``done``, or the unmet conditions."""


class LockstepRig(Protocol):
    """One rig in one process and one thread; time passes in :meth:`step` alone."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What can be asked of it."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """The ways in which a start may leave the training distribution; the first leaves it not at all."""
        ...

    @property
    def max_plan_age_ns(self) -> int:
        """A chunk that rests on inputs older than this is refused."""
        ...

    def reset(self, *, task: str, seed: int, variant: str) -> EpisodeStart:
        """Begin an episode, the servo engaged.

        Raises:
            ConfigError: unknown task or variant, or a negative seed.
        """
        ...

    def now_ns(self) -> int:
        """The rig's own time."""
        ...

    def elapsed_s(self) -> float:
        """Since the reset."""
        ...

    def observe(self) -> RigView:
        """What cameras and arm show now."""
        ...

    def step(self, chunk: ActionChunk | None, *, duration_ns: int) -> None:
        """Hand ``chunk`` to the servo path and let time pass.

        Raises:
            ChunkRejectedError: the chunk did not pass the door; no time has passed.
        """
        ...

    def scripted_chunk(self) -> ActionChunk:
        """What the rig's own scripted policy would do now.

        Raises:
            UnsupportedError: it has none.
        """
        ...

    @property
    def stop_reason(self) -> str:
        """Why the servo no longer follows chunks; empty while it does."""
        ...

    def verdict(self) -> Verdict:
        """The newest one on the task."""
        ...

    def close(self) -> None:
        """Release what it holds; safe to call twice."""
        ...
