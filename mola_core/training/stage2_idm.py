"""Stage II: from pairs of frames, latent actions that suffice to draw the future, in RGB and in each member's own modality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.io_spec import IoSpec
from mola_core.data.sample import LABELS, SampleSource, WindowSpec
from mola_core.data.windows import Split
from mola_core.nets.config import FeatureTokensConfig, MixtureConfig
from mola_core.nets.mola import Mola, build_pretraining
from mola_core.nets.tokens import Transition
from mola_core.training.batches import on_device
from mola_core.training.datasets import Part, joined_or_none, mixed
from mola_core.training.draws import Draws
from mola_core.training.imagining import encoded, features_at, imagine_from
from mola_core.training.naming import all_but
from mola_core.training.recipe import IdmStage
from mola_core.training.rows import rows_of
from mola_core.training.samples import as_classes, as_heat, as_motion, bars, side_by_side, spaced
from mola_core.training.stage import Batch, Learner, Pictures, Stage
from mola_core.training.tensors import EncodedSentences, as_frames, as_pictures, instruction_in
from mola_core.training.whole import Whole
from mola_core.training.workbench import Cached, Workbench

FLOW_UNIT = 0.1
"""Flow is drawn in tenths of the view, so that its errors weigh about as much as the other modalities'."""
_SHOWN = 4


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


class IdmObjective(nn.Module):
    """Reconstruction of the future by every member, and its codebook's commitment."""

    def __init__(self, model: Mola, spec: IdmStage) -> None:
        super().__init__()
        pretraining = build_pretraining(model)
        self.model = model
        self.rgb, self.modalities = pretraining.rgb, pretraining.modalities
        self._pretraining = (
            pretraining,
        )  # in a tuple, and so not registered: its parts are ours already, under one name each
        self._spec = spec

    def sums(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """How many transitions have a future."""
        return {"transitions": batch["mask"].to(draws.device).sum()}

    def forward(self, batch: Batch, draws: Draws, whole: Whole) -> dict[str, Tensor]:
        spec = self._spec
        future = as_pictures(batch["future"])  # B c 3 H W
        imagined = draws.chance("imagined", spec.imagined_share)
        losses = self._pretraining[0].losses(
            self.transition(self._with_features(batch, draws), imagined=imagined),
            future=future,
            labels=self.labels(batch, size=(future.shape[-2], future.shape[-1])),
            known=self.known(batch, size=(future.shape[-2], future.shape[-1])),
            mask=batch["mask"],
            count=whole.count("transitions"),
        )
        total, said = future.new_zeros(()), {}
        weights = {"rgb": spec.rgb_weight, "commitment": spec.commitment_weight}
        for member, terms in losses.items():
            for term, value in terms.items():
                total = total + weights.get(term, spec.modality_weight) * value
                said[f"{member}_{term}"] = value
        return {"loss": total, **said, **self._perplexities(future.device)}

    def _with_features(self, batch: Batch, draws: Draws) -> Batch:
        """What a cache would have held, by the frozen video model; the batch itself where it holds that already."""
        if "window" not in batch:
            return batch
        tokens, spec = _mixture_of(self.model).tokens, self._spec
        if not isinstance(tokens, FeatureTokensConfig):
            return batch
        frames, instruction = [tokens.now_frame, tokens.future_frame], instruction_in(batch)
        features: Batch = {}
        with torch.no_grad():
            clean = encoded(self.model, as_pictures(batch["window"]))  # B C T c h w
            noise = draws.normal("features", clean.shape[1:])
            if spec.imagined_share < 1.0:
                true = features_at(self.model, clean, sigma=spec.feature_sigma, instruction=instruction, noise=noise)
                features["true_features"] = true[:, :, frames]
            if spec.imagined_share > 0.0:
                guess = imagine_from(self.model, clean[:, :, 0], instruction=instruction, noise=noise).features
                features["imagined_features"] = guess[:, :, frames]
        return batch | features

    def transition(self, batch: Batch, *, imagined: Tensor) -> Transition:
        """Tokens of both frames; ``imagined`` (B) says for which items the future is an imagined one."""
        if "true_features" not in batch and "imagined_features" not in batch:
            return self._tokens(self._all_cameras(batch["now"]), self._all_cameras(batch["future"]))
        true, guess = batch.get("true_features"), batch.get("imagined_features")
        if true is None or guess is None:
            chosen = (guess if true is None else true).float()  # type: ignore[union-attr]  # one of them is there
        else:
            chosen = torch.where(imagined[:, None, None, None, None, None], guess.float(), true.float())
        return self._tokens(chosen[:, :, 0], chosen[:, :, 1])

    def _tokens(self, now: Tensor, future: Tensor) -> Transition:
        if self.model.tokens is None:
            raise ValueError("a model without a mixture looks at no transition")
        transition: Transition = self.model.tokens(now, future)
        return transition

    def _all_cameras(self, frames: Tensor) -> Tensor:
        """B c H W 3 of the tokens' cameras, at their numbers among all cameras."""
        config = _mixture_of(self.model).tokens
        pictures = as_pictures(frames)
        every = pictures.new_zeros(pictures.shape[0], self.model.config.num_cameras, *pictures.shape[2:])
        every[:, list(config.cameras)] = pictures
        return every

    def labels(self, batch: Batch, *, size: tuple[int, int]) -> dict[str, Tensor]:
        """Targets of the decoders at the pictures' size."""
        found: dict[str, Tensor] = {}
        if "depth" in batch:
            found["depth"] = enlarged(batch["depth"].float(), size)[:, :, None]  # B c 1 H W
        if "semantic" in batch and batch["semantic"].ndim == 5:  # a picture model's features, B c h w D
            found["semantic"] = self._enlarged_vectors(batch["semantic"].float(), size)
        elif "semantic" in batch:
            classes = _mixture_of(self.model).decoders.modalities["semantic"].channels
            found["semantic"] = enlarged(batch["semantic"].float(), size).long().clamp(max=classes - 1)  # B c H W
        if "flow" in batch:
            found["flow"] = self._enlarged_vectors(batch["flow"] / FLOW_UNIT, size)
        return found

    def known(self, batch: Batch, *, size: tuple[int, int]) -> dict[str, Bool[Tensor, "B c H W"]]:
        """Where the targets of the same names are known; of those that have no mask, everywhere."""
        masks = {name: batch[f"{name}_mask"] for name in LABELS if f"{name}_mask" in batch}
        return {name: enlarged(mask.float(), size) > 0.5 for name, mask in masks.items()}

    @staticmethod
    def _enlarged_vectors(maps: Float[Tensor, "B c h w D"], size: tuple[int, int]) -> Float[Tensor, "B c D H W"]:
        flat = rearrange(maps, "b c h w d -> b (c d) h w")
        return rearrange(enlarged(flat, size), "b (c d) h w -> b c d h w", c=maps.shape[1])

    def drawn(self, batch: Batch, *, imagined: bool) -> dict[str, dict[str, Tensor]]:
        """What each member draws of the future, by ``rgb`` and modality."""
        batch = self._with_features(batch, Draws(seed=0, places=range(len(batch["mask"])), device=batch["mask"].device))
        where = torch.full((len(batch["mask"]),), imagined, device=batch["mask"].device)
        return self._pretraining[0].pictures(self.transition(batch, imagined=where))

    def _perplexities(self, device: torch.device) -> dict[str, Tensor]:
        if self.model.mixture is None:
            return {}
        usage = self.model.mixture.code_usage()
        return {f"{name}_perplexity": torch.tensor(codes.perplexity, device=device) for name, codes in usage.items()}


def idm_learner(spec: IdmStage, model: Mola) -> Learner[IdmObjective]:
    """Trains tokens, mixture and decoders; the video model is frozen.

    Raises:
        ConfigError: imagined futures are asked for, and the tokens cannot be made from any.
    """
    if spec.imagined_share > 0.0 and not isinstance(_mixture_of(model).tokens, FeatureTokensConfig):
        raise ConfigError(
            f"idm.imagined_share {spec.imagined_share:g} needs tokens from features; tokens from pixels see true futures: set "
            "idm.imagined_share=0"
        )
    objective = IdmObjective(model, spec)
    return Learner(objective, frozen=all_but(objective, ["model.tokens", "model.mixture", "rgb", "modalities"]))


def idm_stage(spec: IdmStage, bench: Workbench) -> Stage:
    """:func:`idm_learner` on pairs of frames.

    Raises:
        ConfigError: see there.
    """
    learner = idm_learner(spec, bench.model)
    objective = learner.objective
    training, shares = mixed(
        [_source(spec, bench, part, "train") for part in bench.parts], [part.weight for part in bench.parts]
    )
    validation = joined_or_none([_source(spec, bench, part, "validation") for part in bench.parts])
    shown = validation or training

    def pictures() -> Pictures:
        batch = on_device(shown.batch(spaced(len(shown), _SHOWN)), bench.world.device)
        return {"reconstructions": reconstructions(objective, batch), "codes": code_usage(bench.model)}

    return Stage(
        name="idm",
        spec=spec,
        objective=objective,
        frozen=learner.frozen,
        training=training,
        shares=shares,
        validation=validation,
        sums=objective.sums,
        pictures=pictures,
    )


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


def reconstructions(objective: IdmObjective, batch: Batch) -> UInt8[np.ndarray, "height width 3"]:
    """The rows of :func:`reconstruction_rows` as one picture."""
    return side_by_side(reconstruction_rows(objective, batch))


def reconstruction_rows(objective: IdmObjective, batch: Batch) -> dict[str, UInt8[np.ndarray, "B H W 3"]]:
    """Now, the true future and what each member draws of it, in RGB and in its modality (figure 8 of the paper); first camera."""
    future = as_pictures(batch["future"])
    labels = objective.labels(batch, size=(future.shape[-2], future.shape[-1]))
    rows = {"now": batch["now"][:, 0].cpu().numpy(), "future": batch["future"][:, 0].cpu().numpy()}
    spans = {name: _span(value) for name, value in labels.items()}  # lowest and highest
    for name, value in labels.items():
        rows[f"true {name}"] = _shown(name, value[:, 0], spans[name])
    for member, drawn in objective.drawn(batch, imagined=False).items():
        rows[f"{member} rgb"] = as_frames(drawn["rgb"][:, 0])
        for name in labels.keys() & drawn.keys():
            rows[f"{member} {name}"] = _shown(name, _chosen(name, drawn[name][:, 0], labels[name]), spans[name])
    return rows


def code_usage(model: Mola) -> np.ndarray:
    """How often each code of each member is chosen, most used first."""
    usage = {} if model.mixture is None else model.mixture.code_usage()
    if not usage:
        return np.full((16, 64, 3), 255, np.uint8)
    return bars({name: codes.shares.cpu().numpy() for name, codes in usage.items()})


def _shown(name: str, values: Tensor, span: tuple[float, float]) -> np.ndarray:
    """Frames of a modality: B H W classes, B 1 H W depth or B 2 H W flow."""
    array = values.float().cpu().numpy()
    if array.ndim == 3:
        return np.stack([as_classes(each) for each in array.astype(np.int64)])
    if name == "flow":
        return np.stack([as_motion(np.moveaxis(each, 0, -1), most=span[1]) for each in array])
    return np.stack([as_heat(each[0], low=span[0], high=span[1]) for each in array])  # of features the first number


def _chosen(name: str, drawn: Tensor, label: Tensor) -> Tensor:
    """Classes where the label is classes, what was drawn itself elsewhere."""
    return drawn.argmax(dim=1) if name == "semantic" and label.ndim == 4 else drawn


def _span(values: Tensor) -> tuple[float, float]:
    """From 0, or alike to both sides where some are below it, as features and relative depth are."""
    most = float(values.float().abs().max())
    return (-most if bool((values < 0).any()) else 0.0), most


def enlarged(maps: Float[Tensor, "B c h w"], size: tuple[int, int]) -> Float[Tensor, "B c H W"]:
    """Each cell as it is over all of its place at another size."""
    return functional.interpolate(maps, size=size, mode="nearest")


def _mixture_of(model: Mola) -> MixtureConfig:
    if model.config.mixture is None:
        raise ValueError("this model has no mixture")
    return model.config.mixture


def _source(spec: IdmStage, bench: Workbench, part: Part, split: Split) -> Transitions:
    mixture = _mixture_of(bench.model)
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


class FrameChoice:
    """Two frames of the first draw of cached features, taken out only for the rows that are asked for."""

    def __init__(self, features: Cached, *, frames: tuple[int, int]) -> None:
        self._features, self._frames = features, list(frames)

    def __getitem__(self, rows: Int[np.ndarray, "B"]) -> Float[np.ndarray, "B C 2 F h w"]:
        return np.asarray(self._features[rows, 0][:, :, self._frames])
