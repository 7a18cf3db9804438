"""Names and shapes of what each stage of a model takes."""

from mola_core.contracts.io_spec import IoSpec
from mola_core.export.errors import ExportError
from mola_core.nets.building import Backbone
from mola_core.nets.config import ImageEncoderConfig
from mola_core.nets.mola import Mola
from mola_core.runtime import stages
from mola_core.runtime.tensors import TensorSpec


def images_spec(io: IoSpec) -> TensorSpec:
    """All views as one array.

    Raises:
        ExportError: views of different sizes do not stack.
    """
    sizes = {(view.height, view.width) for view in io.views}
    if len(sizes) != 1:
        raise ExportError(f"views of different sizes do not stack: {sorted(sizes)}")
    return TensorSpec(stages.IMAGES, (len(io.views), *sizes.pop(), 3), "uint8")


def instruction_specs(mola: Mola) -> tuple[TensorSpec, ...]:
    """The three tensors of an encoded sentence."""
    language = mola.config.language
    return (
        TensorSpec(stages.TOKENS, (language.length, language.token_width), "float32"),
        TensorSpec(stages.TOKEN_MASK, (language.length,), "bool"),
        TensorSpec(stages.POOLED, (language.pooled_width,), "float32"),
    )


def video_specs(mola: Mola) -> tuple[TensorSpec, ...]:
    """What the video network starts from."""
    backbone = backbone_of(mola)
    cameras, latent = mola.config.num_cameras, backbone.latent_shape
    return (
        TensorSpec(stages.PRESENT, (cameras, *latent), "float32"),
        TensorSpec(stages.VIDEO_NOISE, (cameras, backbone.num_frames, *latent), "float32"),
        *instruction_specs(mola),
    )


def actor_specs(mola: Mola, *, io: IoSpec, feature_dtype: str, has_prefix: bool) -> tuple[TensorSpec, ...]:
    """What the second half of a policy reads."""
    config = mola.config
    specs: list[TensorSpec] = []
    if mola.backbone is not None:
        frames = mola.backbone.num_frames
        specs.append(
            TensorSpec(stages.FEATURES, (config.num_cameras, frames, *mola.backbone.feature_shape), feature_dtype)
        )
        if mola.needs_latents:
            specs.append(
                TensorSpec(stages.LATENTS, (config.num_cameras, frames, *mola.backbone.latent_shape), "float32")
            )
    if mola.needs_latents or isinstance(config.visual, ImageEncoderConfig):
        specs.append(images_spec(io))
    if config.state_size:
        specs.append(TensorSpec(stages.STATE, (config.state_size,), "float32"))
    specs += instruction_specs(mola)
    rows = (config.horizon, config.action_size)
    specs.append(TensorSpec(stages.ACTION_NOISE, rows, "float32"))
    if mola.mixture is not None:
        specs.append(TensorSpec(stages.GAINS, (len(mola.mixture.members),), "float32"))
    if has_prefix:
        specs.append(TensorSpec(stages.PREFIX_ACTIONS, rows, "float32"))
        specs.append(TensorSpec(stages.PREFIX_SETTLED, rows[:1], "bool"))
    return tuple(specs)


def backbone_of(mola: Mola) -> Backbone:
    """The video network, of a model that has one."""
    if mola.backbone is None:
        raise ExportError("this policy has no imagination")
    return mola.backbone
