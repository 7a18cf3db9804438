"""What all stages are made from: the recipe, the model, the data, and where caches lie."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mola_core.nets.mola import Mola
from mola_core.nets.protocols import Instruction
from mola_core.runtime.language import SentenceEncoder
from mola_core.training.caches import CacheSpec, cached_array
from mola_core.training.datasets import Part, one_picture
from mola_core.training.distributed import World
from mola_core.training.draws import Draws, seed_of
from mola_core.training.frozen_video import backbone_of, coder_name, features_at
from mola_core.training.jitter import jittered
from mola_core.training.optimization import inference_dtype
from mola_core.training.progress import Reporter
from mola_core.training.recipe import Recipe
from mola_core.training.tensors import EncodedSentences, as_pictures, instruction_in

_CACHED = 0
"""Seed of what is drawn once and kept: training with another seed reads the same caches."""
_CELLS_AT_ONCE = 65_536
"""Of latents, in one pass of the video model while caches are filled: a few GiB for the largest."""
Cached = Float[np.ndarray, "rows *rest"]


@dataclass(frozen=True)
class Workbench:
    """One recipe being trained."""

    recipe: Recipe
    model: Mola
    """With the weights of the stages before."""
    parts: tuple[Part, ...]
    """What the stage at hand learns from."""
    encoder: SentenceEncoder
    cache_root: Path
    world: World
    reporter: Reporter

    @cached_property
    def _sentences(self) -> dict[str, EncodedSentences]:
        return {part.name: EncodedSentences(part.rows.sentences, encoder=self.encoder) for part in self.parts}

    def sentences(self, part: Part) -> EncodedSentences:
        """The instructions of ``part``, encoded."""
        return self._sentences[part.name]

    @property
    def num_cameras(self) -> int:
        return len(self.recipe.io.views)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Rows of the imagined frames, the present first."""
        return (0, *self.recipe.io.foresight_offsets)

    # --- what the frozen video model gives, once for each row ---------------------------------------------------------

    def latents(self, part: Part) -> Cached:
        """Latents of every picture, [rows, C, c, h, w]."""
        backbone = backbone_of(self.model)
        source = part.open(one_picture(self.recipe.io))

        def compute(rows: Int[np.ndarray, "rows"]) -> Cached:
            frames = torch.from_numpy(source.batch(rows).frames).to(self.world.device)  # B C 1 H W 3
            return _stored(self.model.encoded(as_pictures(frames))[:, :, 0])

        shape = (len(part.rows), self.num_cameras, *backbone.latent_shape)
        made_from = (
            f"{part.identity} {self.recipe.io.views} {weights_digest(backbone.get_submodule(coder_name(self.model)))}"
        )
        return self._cached("latents", made_from, shape=shape, compute=compute)

    def imagined_features(self, part: Part) -> Cached:
        """Features of one-step imaginations from every row, [rows, draws, C, T, F, h, w], each in a light of its own."""
        backbone, policy = backbone_of(self.model), self.recipe.policy
        source, sentences = part.open(one_picture(self.recipe.io)), self.sentences(part)

        def compute(rows: Int[np.ndarray, "rows"]) -> Cached:
            pictures = as_pictures(torch.from_numpy(source.batch(rows).frames).to(self.world.device))  # B C 1 3 H W
            instruction = self._instruction(sentences, part, rows)
            each = []
            for draw in range(policy.noise_draws):
                light = Draws(seed=seed_of(_CACHED, "light", draw), places=rows.tolist(), device=self.world.device)
                lit = jittered(pictures, policy.jitter, light)
                noise = self._noise(
                    rows, draw=draw, shape=(self.num_cameras, backbone.num_frames, *backbone.latent_shape)
                )
                each.append(self.model.imagine(lit[:, :, 0], instruction=instruction, noise=noise).features)
            return _stored(torch.stack(each, dim=1))

        shape = (len(part.rows), policy.noise_draws, self.num_cameras, backbone.num_frames, *backbone.feature_shape)
        made_from = f"{self._features_from(part)} {policy.jitter}"
        return self._cached("features", made_from, shape=shape, compute=compute)

    def true_features(self, part: Part, *, sigma: float, frames: Sequence[int]) -> Cached:
        """Features of ``frames`` of the true future, tapped at a low noise level, [rows, C, frames, F, h, w]."""
        backbone = backbone_of(self.model)
        part.require_period(self.recipe.io, instead="idm.cache_features=false")
        latents, sentences = self.latents(part), self.sentences(part)

        def compute(rows: Int[np.ndarray, "rows"]) -> Cached:
            window, _ = part.rows.after(rows, self.offsets)
            clean = self._on_device(np.moveaxis(latents[window], 2, 1))  # B C T c h w
            instruction = self._instruction(sentences, part, rows)
            noise = self._noise(rows, draw=-1, shape=clean.shape[1:])
            features = features_at(self.model, clean, sigma=sigma, instruction=instruction, noise=noise)
            return _stored(features[:, :, list(frames)])

        shape = (len(part.rows), self.num_cameras, len(frames), *backbone.feature_shape)
        made_from = f"{self._features_from(part)} {self.offsets} {sigma} {tuple(frames)}"
        return self._cached("true-features", made_from, shape=shape, compute=compute)

    @property
    def _rows_at_once(self) -> int:
        """Small for large models."""
        backbone = backbone_of(self.model)
        _, height, width = backbone.latent_shape
        return max(1, _CELLS_AT_ONCE // (self.num_cameras * backbone.num_frames * height * width))

    def _features_from(self, part: Part) -> str:
        views = self.recipe.io.views
        return f"{part.identity} {views} {weights_digest(backbone_of(self.model))} {_CACHED} {self.encoder.digest}"

    def _instruction(self, sentences: EncodedSentences, part: Part, rows: Int[np.ndarray, "rows"]) -> Instruction:
        batch = sentences.batch(part.rows.sentence[rows])
        return instruction_in({name: tensor.to(self.world.device) for name, tensor in batch.items()})

    def _noise(self, rows: Int[np.ndarray, "rows"], *, draw: int, shape: Sequence[int]) -> Tensor:
        """Unit noise that depends on the row alone, so that a cache filled in pieces is the same as one filled at once."""
        generator = torch.Generator()
        each = []
        for row in rows:
            generator.manual_seed(seed_of(_CACHED, "imagination", int(row), draw))
            each.append(torch.randn(*shape, generator=generator))
        return torch.stack(each).to(self.world.device)

    def _on_device(self, array: Cached) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.world.device, torch.float32)

    def _cached(
        self, what: str, made_from: str, *, shape: tuple[int, ...], compute: Callable[[Int[np.ndarray, "rows"]], Cached]
    ) -> Cached:
        device = self.world.device
        dtype = inference_dtype(device)
        self.model.to(device).eval()

        def quietly(rows: Int[np.ndarray, "rows"]) -> Cached:
            pieces = [rows[first : first + self._rows_at_once] for first in range(0, len(rows), self._rows_at_once)]
            with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                return np.concatenate([compute(piece) for piece in pieces])

        spec = CacheSpec(what=what, made_from=made_from, shape=shape)
        return cached_array(spec, root=self.cache_root, compute=quietly, world=self.world, reporter=self.reporter)


def _stored(values: Tensor) -> Cached:
    return values.to(torch.float16).cpu().numpy()


def weights_digest(module: nn.Module) -> str:
    """Changes with any weight of ``module``."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
