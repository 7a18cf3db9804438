"""What torch computes in full precision, stage after stage, on inputs that look like work."""

from collections.abc import Callable

import cv2
import numpy as np

from mola_core.export.stages import StageModule
from mola_core.export.torch_engine import TorchEngine
from mola_core.runtime import stages
from mola_core.runtime.golden import Golden
from mola_core.runtime.language import SentenceEncoder
from mola_core.runtime.noise import action_noise, video_noise
from mola_core.runtime.stages import Stage
from mola_core.runtime.tensors import on_host

SENTENCES = ("put the bottle in the bin", "stack the red block on the blue block", "open the drawer")
_SETTLED = (2, 0, 1)
"""Rows that are settled, by seed: the first set, which a bundle keeps, has rows of both kinds."""


def golden_of(cut: dict[Stage, StageModule], *, language: SentenceEncoder, seed: int) -> dict[Stage, Golden]:
    """Inputs and outputs of every stage, each fed with what the ones before it gave."""
    shapes = {spec.name: spec.shape for module in cut.values() for spec in module.inputs}
    encoded = language.encode(SENTENCES[seed % len(SENTENCES)])
    known: dict[str, np.ndarray] = {
        stages.TOKENS: encoded.tokens,
        stages.TOKEN_MASK: encoded.mask,
        stages.POOLED: encoded.pooled,
        **_drawn(shapes, seed=seed),
    }
    golden: dict[Stage, Golden] = {}
    for stage, module in cut.items():
        inputs = {spec.name: known[spec.name] for spec in module.inputs}
        outputs = {name: on_host(tensor).copy() for name, tensor in TorchEngine(module).run(inputs).items()}
        golden[stage] = Golden(inputs=inputs, outputs=outputs)
        known |= outputs
    return golden


def _drawn(shapes: dict[str, tuple[int, ...]], *, seed: int) -> dict[str, np.ndarray]:
    """What comes from outside: pictures, state, noise, settled rows, and gains that differ, so that an engine which leaves one of them
    out does not pass.
    """
    rng = np.random.default_rng(seed)
    settled = _SETTLED[seed % len(_SETTLED)]
    makers: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        stages.IMAGES: lambda shape: _pictures(rng, shape),
        stages.STATE: lambda shape: rng.uniform(-1, 1, size=shape).astype(np.float32),
        stages.VIDEO_NOISE: lambda shape: video_noise(seed, shape=shape),
        stages.ACTION_NOISE: lambda shape: action_noise(seed, shape=shape),
        stages.GAINS: lambda shape: np.linspace(1.0, 0.5, num=shape[0], dtype=np.float32),
        stages.PREFIX_ACTIONS: lambda shape: rng.uniform(-1, 1, size=shape).astype(np.float32),
        stages.PREFIX_SETTLED: lambda shape: np.arange(shape[0]) < settled,
    }
    return {name: make(shapes[name]) for name, make in makers.items() if name in shapes}


def _pictures(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth coloured blobs: as little like noise as camera pictures are."""
    count, height, width, _ = shape
    coarse = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC) for picture in coarse])
