"""Samples stacked for a training step, still numpy."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples; fields as in :class:`mola_core.data.sample.Sample` with an axis in front."""

    frames: UInt8[np.ndarray, "B C 1+T H W 3"]
    frame_mask: Bool[np.ndarray, "B C 1+T"]
    state: Float[np.ndarray, "B S"]
    actions: Float[np.ndarray, "B K A"]
    action_mask: Bool[np.ndarray, "B K"]
    instructions: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    datasets: tuple[str, ...]
    episodes: Int[np.ndarray, "B"]
    rows: Int[np.ndarray, "B"]

    def __len__(self) -> int:
        return len(self.instructions)


@dataclass(frozen=True, slots=True)
class Clips:
    """Of each of B samples what one camera sees, and nothing else."""

    frames: UInt8[np.ndarray, "B 1+T H W 3"]
    frame_mask: Bool[np.ndarray, "B 1+T"]
    instructions: tuple[str, ...]
