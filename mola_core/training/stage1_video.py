"""Stage I: the video model learns to denoise the near future of each camera, given its present and the instruction."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mola_core.contracts.errors import UnsupportedError
from mola_core.data.sample import SampleSource, WindowSpec
from mola_core.data.windows import Split, WindowedSource
from mola_core.nets.averages import masked_mean
from mola_core.nets.mola import Mola
from mola_core.nets.video_diffusion import denoising_loss, imagine_latents
from mola_core.nets.wan import WanVideo
from mola_core.training.batches import on_device
from mola_core.training.datasets import Part, joined_or_none, mixed
from mola_core.training.draws import Draws
from mola_core.training.frozen_video import backbone_of, coder_name
from mola_core.training.jitter import jittered
from mola_core.training.naming import all_but
from mola_core.training.recipe import VideoStage
from mola_core.training.resident import Field, arranged, resident
from mola_core.training.rows import rows_of
from mola_core.training.samples import side_by_side, spaced
from mola_core.training.stage import Batch, BatchSource, Learner, Pictures, Stage
from mola_core.training.tensors import EncodedSentences, as_frames, as_pictures, instruction_in, withheld
from mola_core.training.whole import Whole
from mola_core.training.workbench import Cached, Workbench

_SHOWN = 4


class LatentWindows:
    """Windows of cached latents, a camera each; a ``BatchSource``."""

    resident = False

    def __init__(
        self,
        part: Part,
        *,
        latents: Cached,
        sentences: EncodedSentences,
        rows: Int[np.ndarray, "n"],
        offsets: tuple[int, ...],
    ) -> None:
        self._part, self._latents, self._sentences, self._rows, self._offsets = part, latents, sentences, rows, offsets

    def __len__(self) -> int:
        return len(self._rows) * len(self._part.cameras)

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        number, which = np.divmod(np.asarray(indices), len(self._part.cameras))
        rows, camera = self._rows[number], np.array(self._part.cameras)[which]
        window, exists = self._part.rows.after(rows, self._offsets)  # B T
        return {
            "latents": torch.from_numpy(self._latents[window, camera[:, None]]),  # B T c h w
            "mask": torch.from_numpy(exists),
            "camera": torch.from_numpy(camera),
            **self._sentences.batch(self._part.rows.sentence[rows]),
        }


class FrameWindows:
    """Windows of pictures, a camera each, for a video model whose autoencoder runs along; a ``BatchSource``."""

    resident = False

    def __init__(self, part: Part, *, source: SampleSource, sentences: EncodedSentences) -> None:
        self._part, self._source, self._sentences = part, source, sentences

    def __len__(self) -> int:
        return len(self._source) * len(self._part.cameras)

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        number, which = np.divmod(np.asarray(indices), len(self._part.cameras))
        camera = np.array(self._part.cameras)[which]
        clips = self._source.clips(number, cameras=camera)
        return {
            "frames": torch.from_numpy(clips.frames),  # B T H W 3
            "mask": torch.from_numpy(clips.frame_mask),
            "camera": torch.from_numpy(camera),
            **self._sentences.of(clips.instructions),
        }

    def fields(self) -> dict[str, Field] | None:
        """See :class:`~mola_core.training.resident.Tabular`."""
        views = self._source.views if isinstance(self._source, WindowedSource) else None
        if views is None or not isinstance(self._source, WindowedSource):
            return None
        rows, exists = self._source.window_rows  # n T
        number, which = np.divmod(np.arange(len(self)), len(self._part.cameras))
        camera = np.array(self._part.cameras)[which]
        sentence = self._part.rows.sentence[self._part.rows.numbers_of(rows_of(self._source))]
        words = self._sentences.every
        return {
            "frames": Field(tables=views, rows=camera[:, None] * len(views[0]) + rows[number]),
            "mask": arranged(exists[number]),
            "camera": arranged(camera),
            **{name: Field(tables=(table.numpy(),), rows=sentence[number]) for name, table in words.items()},
        }


class VideoObjective(nn.Module):
    """EDM's denoising loss at log-normal noise levels, some of them that of one-step imagination."""

    def __init__(self, model: Mola, spec: VideoStage) -> None:
        super().__init__()
        self.model = model
        self._spec = spec

    def sums(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """How many frames exist: of those that are denoised, and of the imagined ones."""
        mask = batch["mask"].to(draws.device)  # B T
        return {"frames": mask.sum(), "imagined frames": mask[:, 1:].sum()}  # frame 0 is given

    def forward(self, batch: Batch, draws: Draws, whole: Whole) -> dict[str, Tensor]:
        backbone, spec = backbone_of(self.model), self._spec
        clean = self.latents_of(batch, draws)  # B T c h w
        sigma = (spec.log_sigma_mean + spec.log_sigma_std * draws.normal("sigma", ())).exp()
        sigma = torch.where(draws.chance("one step", spec.one_step_share), backbone.sigma_max, sigma)  # B
        loss = denoising_loss(
            backbone,
            clean,
            present=clean[:, 0],
            camera=batch["camera"],
            instruction=withheld(instruction_in(batch), where=draws.chance("no words", spec.text_dropout)),
            sigma=sigma,
            noise=draws.normal("noise", clean.shape[1:]),
            mask=batch["mask"],
            count=whole.count("frames"),
        )
        if self.training:
            return {"loss": loss}
        return {"loss": loss, **self._one_step_errors(batch, clean, draws, count=whole.count("imagined frames"))}

    def _one_step_errors(
        self, batch: Batch, clean: Float[Tensor, "B T c h w"], draws: Draws, *, count: Float[Tensor, ""]
    ) -> dict[str, Float[Tensor, ""]]:
        """How far one-step imagination is from the truth, beside "the future looks like now"; latents, squared."""
        guess = self.imagined(batch, clean, noise=draws.normal("imagination", clean.shape[1:]))
        wrong = {"one_step_error": guess - clean, "standing_still_error": clean[:, :1] - clean}
        return {
            name: masked_mean(error[:, 1:].square().mean(dim=(2, 3, 4)), mask=batch["mask"][:, 1:], count=count)
            for name, error in wrong.items()
        }

    def latents_of(self, batch: Batch, draws: Draws | None = None) -> Float[Tensor, "B T c h w"]:
        """From the batch or through the frozen autoencoder; in training under other light."""
        if "latents" in batch:
            return batch["latents"].float()
        pictures = as_pictures(batch["frames"])
        if self.training and draws is not None:
            pictures = jittered(pictures, self._spec.jitter, draws)
        with torch.no_grad():
            return backbone_of(self.model).encode(pictures).float()

    def imagined(
        self, batch: Batch, clean: Float[Tensor, "B T c h w"], *, noise: Float[Tensor, "B T c h w"]
    ) -> Float[Tensor, "B T c h w"]:
        """One-step imagination of what follows the first frame of ``clean``."""
        denoised = imagine_latents(
            backbone_of(self.model),
            present=clean[:, 0],
            camera=batch["camera"],
            instruction=instruction_in(batch),
            noise=noise,
            features_only=False,
        )
        if denoised.clean is None:
            raise RuntimeError("a full pass gave no clean guess")
        return denoised.clean.float()


def video_learner(spec: VideoStage, model: Mola) -> Learner[VideoObjective]:
    """Trains the video network; its autoencoder is frozen.

    Raises:
        UnsupportedError: the backbone packs several pictures into one latent frame.
    """
    if isinstance(model.backbone, WanVideo):
        raise UnsupportedError(
            "Wan is taken as published, not trained here: mola model import --recipe full.wan --video …"
        )
    objective = VideoObjective(model, spec)
    return Learner(objective, frozen=(*all_but(objective, ["model.backbone"]), f"model.backbone.{coder_name(model)}"))


def video_stage(spec: VideoStage, bench: Workbench) -> Stage:
    """:func:`video_learner` on windows of latents or pictures.

    Raises:
        UnsupportedError: see there.
    """
    learner = video_learner(spec, bench.model)
    objective = learner.objective
    training, shares = mixed(
        resident(_sources(spec, bench, "train"), bench.world), [part.weight for part in bench.parts]
    )
    validation = joined_or_none(_sources(spec, bench, "validation"))
    shown = validation or training

    def pictures() -> Pictures:
        batch = on_device(shown.batch(spaced(len(shown), _SHOWN)), bench.world.device)
        clean = objective.latents_of(batch)
        guess = objective.imagined(batch, clean, noise=torch.randn_like(clean))
        backbone = backbone_of(bench.model)
        true, imagined = as_frames(backbone.decode(clean)), as_frames(backbone.decode(guess))
        rows = {}
        for number in range(len(true)):
            rows[f"true {number}"], rows[f"imagined {number}"] = true[number], imagined[number]
        return {"imagined": side_by_side(rows)}

    return Stage(
        name="video",
        spec=spec,
        objective=objective,
        frozen=learner.frozen,
        training=training,
        shares=shares,
        validation=validation,
        sums=objective.sums,
        pictures=pictures,
    )


def _sources(spec: VideoStage, bench: Workbench, split: Split) -> list[BatchSource]:
    return [_source(spec, bench, part, split) for part in bench.parts]


def _source(spec: VideoStage, bench: Workbench, part: Part, split: Split) -> BatchSource:
    window = WindowSpec(views=bench.recipe.io.views, offsets=bench.offsets, horizon=0)
    if not spec.cache_latents:
        return FrameWindows(part, source=part.open(window, split), sentences=bench.sentences(part))
    part.require_period(bench.recipe.io, instead="video.cache_latents=false")
    return LatentWindows(
        part,
        latents=bench.latents(part),
        sentences=bench.sentences(part),
        rows=part.numbers(window, split),
        offsets=bench.offsets,
    )
