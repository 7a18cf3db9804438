"""The model cut into the stages of :mod:`mola_core.runtime.stages`: modules of plain tensors, to be exported or run by torch.

Every module takes and gives tensors without a batch axis, in float32 whatever it computes in (features in float16 where it computes in
less), so that engines of different precision differ in nothing but numbers and speed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from mola_core.contracts.bundle import Precision
from mola_core.contracts.io_spec import IoSpec
from mola_core.export.errors import ExportError
from mola_core.export.full_precision import narrow
from mola_core.export.graph_module import GraphModule
from mola_core.export.stage_specs import actor_specs, backbone_of, images_spec, video_specs
from mola_core.nets.config import Control
from mola_core.nets.flow_head import FlowHead, Prefix
from mola_core.nets.mola import Imagination, Mola, NetObservation
from mola_core.nets.protocols import Denoised, HeadCondition, Instruction
from mola_core.nets.video_diffusion import imagine_latents, per_camera
from mola_core.runtime import stages
from mola_core.runtime.stages import Stage

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class StageOptions:
    """What export fixes and training leaves open."""

    precision: Precision = "fp32"
    video_steps: int = 1
    action_steps: int | None = None
    """None: the head's own."""
    control: Control = "imagined"
    """Anything else only for evaluations by torch."""
    truncated: bool = True
    """Leave the video network after the last tap; False only to measure what that saves."""
    full_precision: tuple[str, ...] = ()
    """Parts of the model that compute in fp32 whatever ``precision`` says; see :mod:`mola_core.export.full_precision`."""


class StageModule(GraphModule):
    """One stage."""

    stage: Stage

    def __init__(self, mola: Mola, *, options: StageOptions) -> None:
        super().__init__()
        self.mola = mola
        self.options = options
        self.dtype = DTYPES[options.precision]

    def _instruction(self, tokens: Tensor, mask: Tensor, pooled: Tensor) -> Instruction:
        return Instruction(tokens=tokens[None].to(self.dtype), mask=mask[None], pooled=pooled[None].to(self.dtype))

    def _pictures(self, images: UInt8[Tensor, "C H W 3"]) -> Float[Tensor, "C 3 H W"]:
        # compilers take bytes at the door and nowhere else
        return rearrange(images.to(self.dtype), "c h w d -> c d h w") / 127.5 - 1

    def _imagined(self, present: Tensor, noise: Tensor, *, instruction: Instruction, features_only: bool) -> Denoised:
        """Batch items are cameras."""
        return imagine_latents(
            backbone_of(self.mola),
            present=present.to(self.dtype),
            camera=self.mola.camera_numbers(1, device=present.device),
            instruction=per_camera(instruction, cameras=self.mola.config.num_cameras),
            noise=noise.to(self.dtype),
            steps=self.options.video_steps,
            features_only=features_only,
        )


class EncoderStage(StageModule):
    """images → present."""

    stage = "encoder"

    def __init__(self, mola: Mola, *, io: IoSpec, options: StageOptions) -> None:
        super().__init__(mola, options=options)
        self.inputs = (images_spec(io),)
        self.outputs = (stages.PRESENT,)

    def forward(self, images: UInt8[Tensor, "C H W 3"]) -> tuple[Float[Tensor, "C c h w"]]:
        present = backbone_of(self.mola).encode(self._pictures(images)[:, None])[:, 0]
        return (present.float(),)


class VideoStage(StageModule):
    """present, noise and instruction → features, and the clean guess where the actor reads pixels."""

    stage = "video"

    def __init__(self, mola: Mola, *, options: StageOptions) -> None:
        super().__init__(mola, options=options)
        self.feature_dtype = torch.float32 if options.precision == "fp32" else torch.float16
        self.inputs = video_specs(mola)
        self.outputs = (stages.FEATURES, stages.LATENTS) if mola.needs_latents else (stages.FEATURES,)

    def forward(
        self, present: Tensor, video_noise: Tensor, tokens: Tensor, mask: Tensor, pooled: Tensor
    ) -> tuple[Tensor, ...]:
        instruction = self._instruction(tokens, mask, pooled)
        needs_latents = self.mola.needs_latents
        features_only = self.options.truncated and not needs_latents
        denoised = self._imagined(present, video_noise, instruction=instruction, features_only=features_only)
        features = denoised.features.to(self.feature_dtype)  # C T F h w
        return (features, _clean(denoised).float()) if needs_latents else (features,)


class PreviewStage(StageModule):
    """present, noise and instruction → the imagined frames, for people."""

    stage = "preview"

    def __init__(self, mola: Mola, *, options: StageOptions) -> None:
        super().__init__(mola, options=options)
        self.inputs = video_specs(mola)
        self.outputs = (stages.FRAMES,)

    def forward(
        self, present: Tensor, video_noise: Tensor, tokens: Tensor, mask: Tensor, pooled: Tensor
    ) -> tuple[UInt8[Tensor, "C T H W 3"]]:
        instruction = self._instruction(tokens, mask, pooled)
        clean = _clean(self._imagined(present, video_noise, instruction=instruction, features_only=False))
        frames = backbone_of(self.mola).decode(clean).float()  # C T 3 H W
        levels = ((frames + 1) * 127.5).round().clamp(0, 255)
        return (rearrange(levels, "c t d h w -> c t h w d").to(torch.uint8),)


class ActorStage(StageModule):
    """All that follows the imagination: latent actions, visual tokens, and the head with its sampling steps unrolled."""

    stage = "actor"

    def __init__(self, mola: Mola, *, io: IoSpec, options: StageOptions) -> None:
        super().__init__(mola, options=options)
        self.modalities = tuple(mola.mixture.members) if mola.mixture is not None else ()
        feature_dtype = "float32" if options.precision == "fp32" else "float16"
        has_prefix = max_settled_of(mola) > 0
        self.inputs = actor_specs(mola, io=io, feature_dtype=feature_dtype, has_prefix=has_prefix)
        self.outputs = (stages.ACTIONS, *self._told(stages.codes_of), *self._told(stages.latent_actions_of))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip((spec.name for spec in self.inputs), tensors, strict=True))
        conditioned = self.mola.condition(
            self._observation(given),
            imagination=self._imagination(given),
            control=self.options.control,
            control_noise=self._control_noise(given),
        )
        condition, told = conditioned.head, conditioned.latent_actions
        latents = [
            told[name].embeddings * given[stages.GAINS][index].to(self.dtype)
            for index, name in enumerate(self.modalities)
        ]  # M of 1 Q D
        if latents:
            condition = replace(condition, latent_actions=torch.cat(latents, dim=1))
        actions = self._sampled(condition, given)  # 1 K A
        codes = (told[name].code_indices[0] for name in self.modalities)
        return (actions[0].float(), *codes, *(latent[0].float() for latent in latents))

    def _observation(self, given: dict[str, Tensor]) -> NetObservation:
        images, state = given.get(stages.IMAGES), given.get(stages.STATE)
        return NetObservation(
            # a policy that reads features alone looks at no pictures
            images=given[stages.ACTION_NOISE].new_zeros(1, 0) if images is None else self._pictures(images)[None],
            instruction=self._instruction(given[stages.TOKENS], given[stages.TOKEN_MASK], given[stages.POOLED]),
            state=None if state is None else state[None].to(self.dtype),
        )

    def _imagination(self, given: dict[str, Tensor]) -> Imagination | None:
        features, latents = given.get(stages.FEATURES), given.get(stages.LATENTS)
        if features is None:
            return None
        return Imagination(
            features=features[None].to(self.dtype), latents=None if latents is None else latents[None].to(self.dtype)
        )

    def _sampled(self, condition: HeadCondition, given: dict[str, Tensor]) -> Float[Tensor, "1 K A"]:
        head = self.mola.head
        noise = given[stages.ACTION_NOISE][None].to(self.dtype)
        steps = self.options.action_steps or head.default_steps
        if stages.PREFIX_ACTIONS not in given or not isinstance(head, FlowHead):
            return head.sample(condition, noise=noise, steps=steps)
        settled = Prefix(
            actions=given[stages.PREFIX_ACTIONS][None].to(self.dtype), settled=given[stages.PREFIX_SETTLED][None]
        )
        return head.sample(condition, noise=noise, steps=steps, prefix=settled)

    def _control_noise(self, given: dict[str, Tensor]) -> Tensor | None:
        """Follows from the action noise, so that an evaluation repeats itself."""
        if self.options.control != "noisy":
            return None
        seed = int(given[stages.ACTION_NOISE].flatten()[0].cpu().view(torch.int32)) & 0x7FFFFFFF
        now = self._pictures(given[stages.IMAGES]) if self.mola.needs_latents else given[stages.FEATURES][:, 0]
        noise = torch.randn(1, *now.shape, generator=torch.Generator().manual_seed(seed))
        return noise.to(device=now.device, dtype=self.dtype)

    def _told(self, name_of: Callable[[str], str]) -> tuple[str, ...]:
        return tuple(name_of(name) for name in self.modalities)


def max_settled_of(mola: Mola) -> int:
    """The most rows that the head of ``mola`` can be told are settled: as many as training showed it."""
    return min(mola.head.config.max_prefix, mola.config.horizon - 1) if isinstance(mola.head, FlowHead) else 0


def stages_of(mola: Mola, *, io: IoSpec, options: StageOptions) -> dict[Stage, StageModule]:
    """The stages that ``mola`` has, in evaluation mode and in the precision of ``options``; they share its weights.

    Raises:
        ExportError: the model is not for ``io``.
    """
    config = mola.config
    if (config.num_cameras, config.horizon) != (len(io.views), io.horizon):
        raise ExportError(
            f"the model has {config.num_cameras} cameras and {config.horizon} rows, "
            f"its IoSpec {len(io.views)} and {io.horizon}"
        )
    mola = mola.eval().requires_grad_(requires_grad=False)
    if options.precision == "fp32":
        mola.float()
    else:
        narrow(mola, DTYPES[options.precision], keep=options.full_precision)
    cut: list[StageModule] = []
    if mola.backbone is not None:
        cut += [
            EncoderStage(mola, io=io, options=options),
            VideoStage(mola, options=options),
            PreviewStage(mola, options=options),
        ]
    cut.append(ActorStage(mola, io=io, options=options))
    return {module.stage: module.eval() for module in cut}


def passes_on(cut: dict[Stage, StageModule]) -> tuple[str, ...]:
    """What the actor reads of what the first half has: these cross from node to node."""
    made = {stages.IMAGES, stages.FEATURES, stages.LATENTS}
    return tuple(spec.name for spec in cut["actor"].inputs if spec.name in made)


def _clean(denoised: Denoised) -> Tensor:
    if denoised.clean is None:
        raise RuntimeError("a full pass gave no clean guess")
    return denoised.clean
