"""Pairs of now and a future frame, with what is known of that future: what stage II learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from mola_core.contracts.io_spec import IoSpec
from mola_core.data.sample import SampleSource, WindowSpec
from mola_core.data.windows import Split
from mola_core.nets.config import FeatureTokensConfig, MixtureConfig
from mola_core.nets.mola import Mola
from mola_core.training.datasets import Part
from mola_core.training.recipe import IdmStage
from mola_core.training.rows import rows_of
from mola_core.training.stage import Batch
from mola_core.training.tensors import EncodedSentences
from mola_core.training.workbench import Cached, Workbench


@dataclass(frozen=True)
class TransitionFeatures:
    """What the tokens of now and of the future are made from, for every row of a dataset; each [rows, C, 2, F, h, w] or absent."""

    true: Cached | None
    imagined: Cached | None


class Transitions:
    """Pairs of now and a future row with labels of the future; a ``BatchSource``.

    ``future`` is the number of that frame in the source's window, whose labels are of now and of that frame, of ``cameras`` alone;
    ``sentences`` asks for whole windows with their instructions, for a video model that runs along. Depth in metres ends at
    ``farthest``.
    """

    resident = False

    def __init__(
        self,
        source: SampleSource,
        *,
        rows: Int[np.ndarray, "n"],
        features: TransitionFeatures | None,
        cameras: tuple[int, ...],
        future: int = 1,
        sentences: EncodedSentences | None = None,
        farthest: float | None = None,
    ) -> None:
        self._source, self._rows, self._features, self._cameras = source, rows, features, list(cameras)
        self._future, self._sentences = future, sentences
        self._farthest = None if "depth" in source.relative_labels else farthest

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        numbers = np.asarray(indices)
        samples, chosen = self._source.batch(numbers), self._cameras
        batch = {
            "now": samples.frames[:, chosen, 0],  # B c H W 3
            "future": samples.frames[:, chosen, self._future],
            "mask": samples.frame_mask[:, chosen, self._future].all(axis=1),  # B
        }
        batch |= self._of_the_future(samples.labels)
        if self._features is not None:
            for name in ("true", "imagined"):
                array = getattr(self._features, name)
                if array is not None:
                    batch[f"{name}_features"] = array[self._rows[numbers]]  # B C 2 F h w
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
        if self._sentences is None:
            return tensors
        return tensors | self._sentences.of(samples.instructions) | {"window": torch.from_numpy(samples.frames)}

    def _of_the_future(self, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Each [B c h w *D]; flow leads there, and so has one frame less."""
        found = {name: array[:, :, -1] for name, array in labels.items()}
        if "depth" in found and self._farthest is not None:
            found["depth"] = np.minimum(found["depth"], np.float32(self._farthest))
        return found


class FrameChoice:
    """Two frames of the first draw of cached features, taken out only for the rows that are asked for."""

    def __init__(self, features: Cached, *, frames: tuple[int, int]) -> None:
        self._features, self._frames = features, list(frames)

    def __getitem__(self, rows: Int[np.ndarray, "B"]) -> Float[np.ndarray, "B C 2 F h w"]:
        return np.asarray(self._features[rows, 0][:, :, self._frames])


def wanted_labels(mixture: MixtureConfig) -> tuple[str, ...]:
    """Modalities that any member learns to draw."""
    wanted = {target for member in mixture.members for target in member.targets}
    return tuple(name for name in ("depth", "semantic", "flow") if name in wanted)


def transition_window(spec: IdmStage, io: IoSpec, mixture: MixtureConfig) -> WindowSpec:
    """Now and the frame to be drawn; all imagined frames where the video model runs along. Labels are of those two, and of the cameras
    that tokens are made from: many datasets have no other.
    """
    offsets, future = (0, *io.foresight_offsets), mixture.tokens.future_frame
    if not _live(spec, mixture):
        offsets, future = (0, offsets[future]), 1
    return WindowSpec(
        views=io.views,
        offsets=offsets,
        horizon=0,
        labels=wanted_labels(mixture),
        label_cameras=tuple(io.views[number].camera for number in mixture.tokens.cameras),
        label_frames=(0, future),
    )


def _live(spec: IdmStage, mixture: MixtureConfig) -> bool:
    """Whether features are computed in every step."""
    return isinstance(mixture.tokens, FeatureTokensConfig) and not spec.cache_features


def transitions_of(part: Part, spec: IdmStage, bench: Workbench, split: Split) -> Transitions:
    """The transitions of ``part`` as stage II sees them, with features from the cache where ``spec`` keeps them."""
    mixture = mixture_of(bench.model)
    live = _live(spec, mixture)
    source = part.open(transition_window(spec, bench.recipe.io, mixture), split)
    return Transitions(
        source,
        rows=part.rows.numbers_of(rows_of(source)),
        features=None if live else _features(spec, bench, part, mixture),
        cameras=mixture.tokens.cameras,
        future=mixture.tokens.future_frame if live else 1,
        sentences=bench.sentences(part) if live else None,
        farthest=spec.farthest,
    )


def _features(spec: IdmStage, bench: Workbench, part: Part, mixture: MixtureConfig) -> TransitionFeatures | None:
    """None for tokens from pixels."""
    tokens = mixture.tokens
    if not isinstance(tokens, FeatureTokensConfig):
        return None
    frames = (tokens.now_frame, tokens.future_frame)
    true = imagined = None
    if spec.imagined_share < 1.0:
        true = bench.true_features(part, sigma=spec.feature_sigma, frames=frames)
    if spec.imagined_share > 0.0:
        every = bench.imagined_features(part)  # rows draws C T F h w
        imagined = FrameChoice(every, frames=frames)
    return TransitionFeatures(true=true, imagined=imagined)  # type: ignore[arg-type]  # indexed by rows, as an array is


def mixture_of(model: Mola) -> MixtureConfig:
    """What the mixture of ``model`` is made of. ValueError for a model without one."""
    if model.config.mixture is None:
        raise ValueError("this model has no mixture")
    return model.config.mixture
