"""A recipe: everything that decides what comes out of training, except the data's place and the machine.

Recipes are frozen and made by functions (:mod:`mola_core.training.recipes`), one deriving from another. A checkpoint carries the
recipe that made it.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mola_core.contracts.io_spec import IoSpec
from mola_core.nets.config import Control, MolaConfig


class Record(BaseModel):
    """Frozen, strict about names, finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OptimizerSpec(Record):
    """AdamW."""

    learning_rate: float = Field(gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Of matrices only; biases, gains and embeddings are not decayed."""
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = Field(default=1.0, gt=0.0)
    """Longest gradient, over all parameters together."""


class ConstantSchedule(Record):
    """Warm-up, then the same learning rate to the end."""

    kind: Literal["constant"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)


class CosineSchedule(Record):
    """Linear warm-up, then half a cosine down to ``final_ratio`` of the peak."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    final_ratio: float = Field(default=0.0, ge=0.0, le=1.0)


class TriStageSchedule(Record):
    """Linear warm-up from ``initial_ratio``, hold, half a cosine down to ``final_ratio``; phases as fractions of all steps.

    Source: the release's scheduler of stage III, with its numbers.
    """

    kind: Literal["tri_stage"] = "tri_stage"
    initial_ratio: float = Field(default=0.1, ge=0.0, le=1.0)
    final_ratio: float = Field(default=1e-6, ge=0.0, le=1.0)
    warmup_fraction: float = Field(default=0.02, ge=0.0, le=1.0)
    hold_fraction: float = Field(default=0.08, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        if self.warmup_fraction + self.hold_fraction > 1.0:
            raise ValueError(f"warm-up {self.warmup_fraction} and hold {self.hold_fraction} together exceed 1")
        return self


Schedule = ConstantSchedule | CosineSchedule | TriStageSchedule


class StageSpec(Record):
    """What all stages have in common."""

    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; give these or ``epochs``."""
    epochs: float | None = Field(default=None, gt=0.0)
    batch_size: int = Field(ge=1)
    """Samples of one optimizer step, over all processes and accumulated parts together."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a batch is computed in, one after the other, to save memory."""
    optimizer: OptimizerSpec
    schedule: Schedule = Field(default=CosineSchedule(), discriminator="kind")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """``auto``: bf16 where the device multiplies matrices in it (a GPU, a CPU with AMX or AVX-512 BF16), fp32 elsewhere."""
    activation_checkpointing: bool = False
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Of the averaged weights, which are what is used afterwards; None: no averaging."""
    log_every: int = Field(default=20, ge=1)
    validate_every: int = Field(default=500, ge=1)
    validation_batches: int = Field(default=8, ge=1)
    save_every: int = Field(default=500, ge=1)
    picture_every: int = Field(default=1000, ge=1)
    keep_last: int = Field(default=2, ge=1)
    """Resumable states kept, besides the best by validation loss."""

    @model_validator(mode="after")
    def _length_is_said_once(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"give steps or epochs, and not both: steps={self.steps}, epochs={self.epochs}")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self


class PictureJitter(Record):
    """Other light for a picture, the same for all frames of a window; each number but the share is a standard deviation."""

    share: float = Field(default=1.0, ge=0.0, le=1.0)
    """How many pictures are changed at all."""
    light: float = Field(default=0.0, ge=0.0, le=2.0)
    """Of the logarithm of a factor on brightness: dark stays dark, and what is too bright saturates."""
    gain: float = Field(default=0.1, ge=0.0, le=1.0)
    """Of a factor on all channels about medium grey: contrast."""
    colour: float = Field(default=0.05, ge=0.0, le=1.0)
    """Of a factor on each channel."""
    offset: float = Field(default=0.08, ge=0.0, le=1.0)
    """Of what is added to all channels; pictures are in [-1, 1]."""


class AutoencoderStage(StageSpec):
    """The small backbone's own autoencoder, trained before its video network (a part of stage I)."""

    jitter: PictureJitter | None = None


class VideoStage(StageSpec):
    """Stage I: the video model as an EDM denoiser (v-prediction) of log-normal noise levels."""

    log_sigma_mean: float = 0.7
    log_sigma_std: float = Field(default=1.6, gt=0.0)
    text_dropout: float = Field(default=0.05, ge=0.0, le=1.0)
    """How often the instruction is withheld."""
    one_step_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """How often the noise is that of one-step imagination, ``sigma_max``, instead of a drawn one; 0 in the paper."""
    cache_latents: bool = True
    """Compute the frozen autoencoder's latents once and keep them on disk, instead of anew in every step."""
    jitter: PictureJitter | None = None
    """Only of pictures, and so without cached latents."""

    @model_validator(mode="after")
    def _jitter_needs_pictures(self) -> Self:
        if self.jitter is not None and self.cache_latents:
            raise ValueError(
                "jitter changes pictures, and cached latents have none: set cache_latents=false or jitter=null"
            )
        return self


class IdmStage(StageSpec):
    """Stage II: each inverse dynamics model by itself, with the shared RGB decoder and its modality's."""

    rgb_weight: float = Field(default=1.0, ge=0.0)
    modality_weight: float = Field(default=1.0, ge=0.0)
    commitment_weight: float = Field(default=1.0, ge=0.0)
    imagined_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """How often tokens from video features are those of an imagined future instead of the true one; the picture to be predicted
    is the true one either way."""
    feature_sigma: float = Field(default=0.1, gt=0.0)
    """Noise level at which features of a true future are tapped."""
    cache_features: bool = True
    """Compute the frozen video model's features once and keep them on disk, instead of anew in every step."""
    farthest: float | None = Field(default=3.0, gt=0.0)
    """Depth beyond it, in metres, is drawn as if it were there: backgrounds must not outweigh the scene. None: as it is. Relative
    depth knows no metres and is never cut."""


class Openings(Record):
    """Samples from the first rows of their episodes, drawn more often than they are many."""

    rows: int = Field(default=8, ge=1)
    share: float = Field(default=0.3, gt=0.0, lt=1.0)
    """Of every batch."""


class PolicyStage(StageSpec):
    """Stage III: MoIDM, video former and head jointly on a frozen video model."""

    commitment_weight: float = Field(default=0.1, ge=0.0)
    mixture: Literal["finetuned", "frozen", "from_scratch"] = "finetuned"
    """What becomes of the inverse dynamics models of stage II (figure 5 of the paper)."""
    cache_features: bool = True
    """Compute the frozen model's features once and keep them on disk, instead of anew in every step."""
    noise_draws: int = Field(default=1, ge=1, le=16)
    """Imaginations kept for each row where features are cached."""
    jitter: PictureJitter | None = None
    """Of the pictures that imaginations start from, cached ones included: there each row and draw has one light for good."""
    readout_weight: float = Field(default=0.0, ge=0.0)
    """Of a linear readout of the actions from the visual tokens alone, which tells them at once, without the head's noise, where to
    look; dropped after training, not in the paper."""
    semantic_weight: float = Field(default=0.0, ge=0.0)
    """Of saying, from the reader's cells, what every part of the present shows: thousands of small lessons a row on where things are,
    where the actions give one. Needs labels of classes; dropped after training, not in the paper."""
    referred_weight: float = Field(default=0.0, ge=0.0)
    """The same for what the instruction speaks of: what is to be acted on, and where it goes. Which of many things is meant stands in
    the actions too, but in six ordered pairs of blocks it takes far more of them to find out."""
    reach: float | None = Field(default=None, gt=0.0)
    """Samples that move the tool further than this (mean length over the chunk, normalised) count less, by its square: errors grow
    with the way ahead, and what decides a grasp are the last centimetres. None: all count alike, as in the paper."""
    openings: Openings | None = None
    """Where a task begins the goal has to be seen; a little later the arm's own pose tells where it is heading, and a policy that has
    learned to read that instead heads anywhere. None: as often as any other row, as in the paper."""
    state_noise: float = Field(default=0.0, ge=0.0, le=1.0)
    """Standard deviation of noise on the normalised state, against trusting it to the last digit."""


class MixturePart(Record):
    """A dataset and its share."""

    dataset: str
    """A name; where it lies the command line says."""
    weight: float = Field(gt=0.0)
    """Share of the samples, relative to the other parts'."""
    teachers: dict[str, str] | None = None
    """Whose labels stage II learns from, by modality; None: those that are there."""


class ActingSpec(Record):
    """How the trained policy is run, where it differs from training."""

    video_steps: int = Field(default=1, ge=1)
    """Denoising passes of the imagination (paper, table 10)."""
    action_steps: int | None = Field(default=None, ge=1)
    """Integration steps of the head; None: the head's own."""
    control: Control = "imagined"
    """What stands for the future (paper, table 14)."""


class Recipe(Record):
    """One model and how it is trained."""

    name: str
    summary: str
    io: IoSpec
    model: MolaConfig
    mixture: tuple[MixturePart, ...] = Field(min_length=1)
    """What the video model and the inverse dynamics models learn from."""
    demonstrations: tuple[MixturePart, ...] | None = None
    """What the policy learns from, under the contract of ``io``; None: the whole of ``mixture``."""
    validation_share: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of the episodes of each dataset that training never sees."""
    cache_frames: bool = True
    """Decode each dataset's pictures once into a cache beside it; for datasets larger than the disk they are decoded when needed."""
    seed: int = Field(default=0, ge=0)
    autoencoder: AutoencoderStage | None = None
    video: VideoStage | None = None
    idm: IdmStage | None = None
    policy: PolicyStage
    acting: ActingSpec = ActingSpec()

    @model_validator(mode="after")
    def _model_fits_the_line(self) -> Self:
        wanted = {
            "num_cameras": len(self.io.views),
            "horizon": self.io.horizon,
            "action_size": len(self.io.contract.action),
        }
        for name, value in wanted.items():
            if getattr(self.model, name) != value:
                raise ValueError(f"model.{name} is {getattr(self.model, name)}, io asks for {value}")
        if self.model.state_size not in {0, len(self.io.contract.state)}:
            raise ValueError(
                f"model.state_size is {self.model.state_size}, io gives {len(self.io.contract.state)} or 0"
            )
        return self

    @model_validator(mode="after")
    def _backbone_fits_the_views(self) -> Self:
        backbone = self.model.backbone
        if backbone is None:
            return self
        frames = 1 + len(self.io.foresight_offsets)
        if backbone.num_frames != frames:
            raise ValueError(f"model.backbone imagines {backbone.num_frames} frames, io has {frames} with the present")
        for view in self.io.views:
            if (view.width, view.height) != (backbone.width, backbone.height):
                size = f"{view.width} x {view.height}"
                raise ValueError(
                    f"view {view.camera} is {size}, the backbone sees {backbone.width} x {backbone.height}"
                )
        return self

    @model_validator(mode="after")
    def _stages_fit_the_model(self) -> Self:
        if self.video is not None and self.model.backbone is None:
            raise ValueError("a video stage needs model.backbone")
        if self.autoencoder is not None and (self.model.backbone is None or self.model.backbone.kind != "small"):
            raise ValueError("an autoencoder stage needs a small backbone, whose autoencoder is learned")
        if self.idm is not None and self.model.mixture is None:
            raise ValueError("an idm stage needs model.mixture")
        return self
