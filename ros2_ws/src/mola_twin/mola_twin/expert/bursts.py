"""Pushes off the path: now and then what is executed is offset from what the expert means, and what it means is what gets recorded.

So demonstrations hold states a little off the path together with the way back to it (noise injection as in DART, Laskey et al. 2017),
and no row shows a mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mola_core.contracts.geometry import pose_from_transform, rotation_from_rotvec, transform_from_pose
from mola_core.contracts.types import ActionChunk, ActionSpace

DEVIATION = np.array([0.022, 0.022, 0.014, 0.16])
"""Standard deviation of a push in x, y, z (m) and about the vertical (rad), far from everything."""
STAGE_SHARE: Mapping[str, float] = {
    "rise": 1.0,
    "above": 1.0,
    "carry": 1.0,
    "home": 1.0,
    "up": 0.6,
    "lift": 0.6,
    "descend": 0.35,
    "lower": 0.4,
    "close": 0.1,
    "open": 0.1,
    "pull": 0.2,
    "press": 0.2,
}
"""How much of that near things: a push while fingers close would knock the object over."""
_OTHER_SHARE = 0.3
_LENGTH = (3, 9)
_PAUSE = (6, 22)
"""Rows, half open."""
_APPROACH = 0.6
"""Share of the way to the push that one row goes."""


@dataclass
class Bursts:
    """Seeded pushes of ``scale`` times the usual size; 0 makes none."""

    scale: float
    seed: int

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._left = 0
        self._pause = int(self._rng.integers(0, 10))
        self._goal = np.zeros(4)
        self._offset = np.zeros(4)

    def push(self, chunk: ActionChunk, *, stage: str) -> ActionChunk:
        """What is executed instead of ``chunk``, whose targets must be poses; call it once a row."""
        if self.scale == 0.0 or chunk.space is not ActionSpace.TCP:
            return chunk
        self._step(STAGE_SHARE.get(stage, _OTHER_SHARE))
        if not self._offset.any():
            return chunk
        return replace(chunk, targets=np.array([_moved(target, self._offset) for target in chunk.targets]))

    def _step(self, share: float) -> None:
        if self._left > 0:
            self._left -= 1
            if self._left == 0:
                self._pause = int(self._rng.integers(*_PAUSE))
        elif self._pause > 0:
            self._pause -= 1
        else:
            self._left = int(self._rng.integers(*_LENGTH))
            self._goal = self._rng.normal(size=4) * DEVIATION * self.scale
        if self._left > 0:
            self._offset = self._offset + _APPROACH * (self._goal * share - self._offset)
        else:
            self._offset = np.zeros(4)


def _moved(pose: Float[np.ndarray, "6"], offset: Float[np.ndarray, "4"]) -> Float[np.ndarray, "6"]:
    base_from_tcp = transform_from_pose(pose)
    base_from_tcp[:3, 3] += offset[:3]
    base_from_tcp[:3, :3] = rotation_from_rotvec(np.array([0.0, 0.0, offset[3]])) @ base_from_tcp[:3, :3]
    return pose_from_transform(base_from_tcp)
