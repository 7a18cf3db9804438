"""How far what was imagined is from what then happened, in the features on which the policy acts.

Frame ``k`` of a foresight's features says how the scene will look ``offsets_ns[k]`` after its stamp; frame 0 of a later foresight
says how it looks then. Their relative distance is the divergence: 0 where imagination came true; the distance to frame 0 of
the *earlier* foresight (as if nothing were to change) stands beside it, since a still scene is easily foretold.
"""

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from jaxtyping import Float

from mola_core.contracts.site import SafetySpec
from mola_core.runtime import stages
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.tensors import on_host

_MEMORY = 16
_STOP_AFTER = 2
"""Comparisons in a row beyond the limit: one may be a frame that came late."""
SLOW_SPEED = 0.5
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Divergence:
    """One comparison."""

    stamp_ns: int
    """Of the observation that shows what happened."""
    horizon_ns: int
    """How far ahead it had been imagined."""
    value: float
    """Relative distance of imagined and seen features, mean over cameras; dimensionless, >= 0."""
    persistence: float
    """The same distance, had nothing changed since."""


def comparable(foresight: Foresight) -> Foresight:
    """What a :class:`DivergenceMeter` reads of it, in the host's memory; may wait for a device."""
    features = foresight.tensors.get(stages.FEATURES)
    return replace(foresight, tensors={} if features is None else {stages.FEATURES: on_host(features)})


@dataclass(frozen=True)
class _Remembered:
    stamp_ns: int
    instruction: str
    bundle_id: str
    offsets_ns: tuple[int, ...]
    features: Float[np.ndarray, "C T F h w"]


class DivergenceMeter:
    """Remembers what was imagined until it can be compared. Belongs to one thread."""

    def __init__(self, *, tolerance_ns: int) -> None:
        """What was imagined for a moment is compared with what is seen at most ``tolerance_ns`` from it."""
        self._tolerance_ns = tolerance_ns
        self._past: deque[_Remembered] = deque(maxlen=_MEMORY)

    def reset(self) -> None:
        """Another episode begins."""
        self._past.clear()

    def update(self, foresight: Foresight) -> Divergence | None:
        """Compare with the oldest foresight that spoke of this moment; None while there is none, or without features."""
        tensor = foresight.tensors.get(stages.FEATURES)
        if tensor is None:
            return None
        features = on_host(tensor).astype(np.float32)
        now = _Remembered(
            foresight.stamp_ns, foresight.instruction, foresight.bundle_id, foresight.offsets_ns, features
        )
        divergence = next((found for past in self._past if (found := self._compare(past, now)) is not None), None)
        self._past.append(now)
        return divergence

    def _compare(self, past: _Remembered, now: _Remembered) -> Divergence | None:
        if past.bundle_id != now.bundle_id or past.instruction != now.instruction:
            return None
        misses = [abs(past.stamp_ns + offset - now.stamp_ns) for offset in past.offsets_ns]
        frame = int(np.argmin(misses))
        if frame == 0 or misses[frame] > self._tolerance_ns:
            return None
        seen = now.features[:, 0]
        return Divergence(
            stamp_ns=now.stamp_ns,
            horizon_ns=past.offsets_ns[frame],
            value=_distance(past.features[:, frame], seen),
            persistence=_distance(past.features[:, 0], seen),
        )


def _distance(first: Float[np.ndarray, "C F h w"], second: Float[np.ndarray, "C F h w"]) -> float:
    axes = (1, 2, 3)
    apart = np.sqrt(np.square(first - second).sum(axis=axes))
    size = np.sqrt(np.square(second).sum(axis=axes))
    return float((apart / (size + _TINY)).mean())


class Measure(Enum):
    """What is done about a divergence."""

    NORMAL = "normal"
    SLOWED = "slowed"
    STOPPED = "stopped"


class DivergenceGuard:
    """Slows a plan, then ends the run, where imagination and world part; without limits it only watches."""

    def __init__(self, safety: SafetySpec) -> None:
        self._safety = safety
        self._beyond = 0
        self.measure = Measure.NORMAL

    def reset(self) -> None:
        """Another episode begins."""
        self._beyond = 0
        self.measure = Measure.NORMAL

    def judge(self, divergence: Divergence) -> Measure:
        """Take in one comparison; a stop stands until the next episode. What is not a number is beyond every limit."""
        slow, stop = self._safety.divergence_slow, self._safety.divergence_stop
        self._beyond = self._beyond + 1 if _is_beyond(divergence.value, stop) else 0
        if self.measure is Measure.STOPPED or self._beyond >= _STOP_AFTER:
            self.measure = Measure.STOPPED
        elif _is_beyond(divergence.value, slow):
            self.measure = Measure.SLOWED
        else:
            self.measure = Measure.NORMAL
        return self.measure

    @property
    def speed(self) -> float:
        """0 .. 1, at which the plan is to be executed."""
        return {Measure.NORMAL: 1.0, Measure.SLOWED: SLOW_SPEED, Measure.STOPPED: 0.0}[self.measure]


def _is_beyond(value: float, limit: float | None) -> bool:
    return limit is not None and not value <= limit
