"""Samples stacked for a training step, still numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mola_core.data.sample import Sample


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


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack ``samples``, which must come from one window."""
    return Batch(
        frames=np.stack([sample.frames for sample in samples]),
        frame_mask=np.stack([sample.frame_mask for sample in samples]),
        state=np.stack([sample.motion.state for sample in samples]),
        actions=np.stack([sample.motion.actions for sample in samples]),
        action_mask=np.stack([sample.motion.action_mask for sample in samples]),
        instructions=tuple(sample.instruction for sample in samples),
        labels={name: np.stack([sample.labels[name] for sample in samples]) for name in samples[0].labels},
        datasets=tuple(sample.dataset for sample in samples),
        episodes=np.array([sample.episode for sample in samples]),
        rows=np.array([sample.row for sample in samples]),
    )
