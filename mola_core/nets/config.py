"""Frozen descriptions of every network: what a recipe chooses, a checkpoint carries and ``build_mola`` builds.

An ablation is another configuration, never a flag read inside a network: no mixture, other members of it, another head, another
source of visual tokens. Letters of shapes as in :mod:`mola_core.nets.protocols`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Control = Literal["imagined", "same", "noisy"]
"""What stands for the future at test time: the imagination, the present again, or the present with noise (paper, table 14)."""


class NetConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- language ---------------------------------------------------------------------------------------------------------


class LanguageConfig(NetConfig):
    """A frozen sentence encoder; see :mod:`mola_core.nets.language`."""

    encoder: Literal["minilm", "clip", "umt5"] = "minilm"
    length: int = 20
    """L; longer instructions are cut."""
    token_width: int = 384
    pooled_width: int = 384


# --- imagination ------------------------------------------------------------------------------------------------------


class AutoencoderConfig(NetConfig):
    """A small convolutional autoencoder; every channel of its latents has zero mean and unit variance."""

    widths: tuple[int, ...] = (32, 64, 96)
    """One level each; each halves the picture: the latent grid is the picture over 2 ** len(widths)."""
    latent_channels: int = 8
    latent_noise: float = Field(default=0.05, ge=0)
    """Standard deviation of noise added to latents in training, so that the decoder bears imagined ones."""


class SmallVideoConfig(NetConfig):
    """A small spatio-temporal UNet over the latents of :class:`AutoencoderConfig`."""

    kind: Literal["small"] = "small"
    height: int = 96
    width: int = 96
    num_frames: int = 6
    """T; frame 0 is the present."""
    num_cameras: int = 2
    token_width: int = 384
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    widths: tuple[int, ...] = (64, 96, 128)
    """One level each; each after the first halves the grid."""
    blocks: int = Field(default=1, ge=1)
    """Residual blocks a level on the way down; one more on the way up."""
    head_width: int = 32
    attention_levels: tuple[int, ...] = (1, 2)
    """Levels with spatial, language and temporal attention."""
    tap_levels: tuple[int, ...] = (2, 1)
    """Levels of the way up whose outputs are joined at the grid of the last one named; what comes after is not run for features."""
    predict: Literal["picture", "change"] = "picture"
    """``change``: the network says how the future differs from the present, which is little for most of a picture."""
    sigma_max: float = 80.0

    @model_validator(mode="after")
    def _taps_fall(self) -> "SmallVideoConfig":
        if not self.tap_levels or list(self.tap_levels) != sorted(set(self.tap_levels), reverse=True):
            raise ValueError(f"tap_levels must fall from coarse to fine, got {self.tap_levels}")
        if self.tap_levels[0] >= len(self.widths):
            raise ValueError(f"tap_levels {self.tap_levels} name a level that widths {self.widths} do not have")
        return self


class CosineConfig(NetConfig):
    """Cosine transform of 8×8 blocks as latents: how many of the 64 waves of luma, and of each chroma plane, are kept."""

    luma: int = Field(default=32, ge=1, le=64)
    chroma: int = Field(default=8, ge=1, le=64)

    @property
    def channels(self) -> int:
        return self.luma + 2 * self.chroma


class StackedVideoConfig(NetConfig):
    """A convolutional UNet of two levels that takes all frames at once, as channels; see :mod:`mola_core.nets.stacked_video`."""

    kind: Literal["stacked"] = "stacked"
    height: int = 96
    width: int = 160
    num_frames: int = 3
    """T; frame 0 is the present."""
    num_cameras: int = 2
    token_width: int = 384
    latents: CosineConfig = CosineConfig()
    width_fine: int = 128
    width_coarse: int = 192
    blocks: int = 1
    """At the fine level, on the way down and again on the way up."""
    blocks_coarse: int = 2
    embedding: int = 128
    feature_width: int = 64
    """F, of every frame."""
    sigma_max: float = 80.0


class SvdConfig(NetConfig):
    """Stable Video Diffusion, image to video (Blattmann et al. 2023), with the instruction in place of the image embedding."""

    kind: Literal["svd"] = "svd"
    height: int = 256
    width: int = 256
    num_frames: int = 16
    token_width: int = 512
    """The tokens are joined with themselves to the UNet's 1024."""
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    heads: tuple[int, ...] = (5, 10, 20, 20)
    layers: int = 2
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    norm_groups: Literal[32] = 32
    """As both networks are published. None other can be built: it stands here because checkpoints and runs in progress name it."""
    fps: int = 4
    motion_bucket: int = 127
    sigma_max: float = 700.0


class WanConfig(NetConfig):
    """Wan2.2 5B (paper, table 12); features are the tokens after transformer block ``tap_layer``."""

    kind: Literal["wan"] = "wan"
    height: int = 256
    width: int = 256
    num_frames: int = 17
    """4 n + 1: the autoencoder packs four frames after the first into one latent."""
    token_width: int = 4096
    heads: int = 24
    head_width: int = 128
    ffn_width: int = 14336
    layers: int = 30
    tap_layer: int = 15
    latent_channels: int = 48
    encoder_width: int = 160
    decoder_width: int = 256
    spatial_stride: int = 16
    temporal_stride: int = 4
    sigma_max: float = 1000.0


BackboneConfig = Annotated[SmallVideoConfig | StackedVideoConfig | SvdConfig | WanConfig, Field(discriminator="kind")]


# --- visual tokens of the head ----------------------------------------------------------------------------------------


class VideoFormerConfig(NetConfig):
    """A resampler of imagined features: ``queries_per_frame`` tokens for each frame, all cameras together (VPP)."""

    kind: Literal["video_former"] = "video_former"
    width: int = 384
    depth: int = 6
    heads: int = 8
    head_width: int = 64
    queries_per_frame: int = 14
    positions: bool = False
    """Learned positions of grid cells and cameras, which the release does not have."""


class KeypointsConfig(NetConfig):
    """Spatial softmax under the instruction: ``keypoints`` places a frame and camera, told in ``tokens_per_frame`` tokens."""

    kind: Literal["keypoints"] = "keypoints"
    width: int = 192
    inner: int = 96
    keypoints: int = 24
    values: int = 8
    """Numbers of feature beside the two of place."""
    tokens_per_frame: int = 4
    blocks: int = Field(default=0, ge=0)
    """Residual blocks of 3×3 convolutions, told the instruction, before the questions are put."""
    imagined: Literal["whole", "coarse"] = "whole"
    """How imagined frames are read: as the present is, or without blocks and from means of 2×2 cells. They are blurred anyway, and are
    most of the reader's work."""


class ImageEncoderConfig(NetConfig):
    """The policy's own convolutional encoder of the current pictures, for outside baselines without imagination."""

    kind: Literal["image_encoder"] = "image_encoder"
    height: int = 96
    width: int = 96
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """One level each; each halves the picture."""
    token_width: int = 384
    """One token a grid cell and camera."""


VisualConfig = Annotated[VideoFormerConfig | KeypointsConfig | ImageEncoderConfig, Field(discriminator="kind")]


# --- inverse dynamics -------------------------------------------------------------------------------------------------


class FeatureTokensConfig(NetConfig):
    """Tokens from the video network's features (release): MLP F → width → width and an embedding of now and future."""

    kind: Literal["features"] = "features"
    cameras: tuple[int, ...] = (0,)
    width: int = 1024
    now_frame: int = 0
    future_frame: int = 5
    patch: int = Field(default=1, ge=1)
    """Cells a token, down and across."""


class PixelTokensConfig(NetConfig):
    """Tokens of a ViT over the current and the decoded imagined picture (paper)."""

    kind: Literal["pixels"] = "pixels"
    cameras: tuple[int, ...] = (0,)
    width: int = 192
    patch: int = 8
    depth: int = 4
    heads: int = 3
    future_frame: int = 5


TokensConfig = Annotated[FeatureTokensConfig | PixelTokensConfig, Field(discriminator="kind")]


class CodebookConfig(NetConfig):
    size: int = 128
    width: int = 32
    beta: float = 0.25
    """Weight of the codebook's own term beside the commitment term, as the release has it."""
    usage_decay: float = Field(default=0.99, gt=0, lt=1)
    dead_below: float = Field(default=0.03, ge=0)
    """A code used less than this fraction of an even share is put onto a vector of the present batch."""
    standardised: bool = False
    """Every number of every query to mean 0 and deviation 1 over the batch before it is quantised (Łańcucki et al. 2020). Without it a
    small model can pay less commitment by making all vectors alike, and does; the release has nothing of the kind."""


class IdmConfig(NetConfig):
    """Spatiotemporal transformer with latent-action queries, codebook, and projections around it."""

    num_queries: int = 8
    layers: int = 4
    width: int = 768
    heads: int = 12
    mlp_width: int = 3072
    codebook: CodebookConfig = CodebookConfig()


class ModalityConfig(NetConfig):
    """A picture an inverse dynamics model learns to predict beside the RGB one."""

    loss: Literal["classes", "l1", "l2"]
    channels: int = Field(ge=1)
    """Classes for ``classes`` (labels are integers), numbers a pixel otherwise."""


class DecodersConfig(NetConfig):
    """ViT decoders for pretraining: (latent actions, tokens now) → the future picture."""

    width: int = 384
    depth: int = 4
    heads: int = 6
    modalities: dict[str, ModalityConfig] = {
        "semantic": ModalityConfig(loss="classes", channels=16),
        "depth": ModalityConfig(loss="l1", channels=1),
        "flow": ModalityConfig(loss="l1", channels=2),
    }


class MemberConfig(NetConfig):
    """One member of the mixture: what it learns to predict beside the RGB picture; nothing for an RGB-only one."""

    name: str
    targets: tuple[str, ...]
    bottleneck: Literal["codebook", "none"] = "codebook"
    """``none``: the modality's own features go to the head without inverse dynamics (direct input, paper, table 13)."""


SEMANTIC = MemberConfig(name="semantic", targets=("semantic",))
DEPTH = MemberConfig(name="depth", targets=("depth",))
FLOW = MemberConfig(name="flow", targets=("flow",))


class MixtureConfig(NetConfig):
    members: tuple[MemberConfig, ...] = (SEMANTIC, DEPTH, FLOW)
    tokens: TokensConfig = FeatureTokensConfig()
    idm: IdmConfig = IdmConfig()
    decoders: DecodersConfig = DecodersConfig()

    @model_validator(mode="after")
    def _targets_have_decoders(self) -> "MixtureConfig":
        unknown = {target for member in self.members for target in member.targets} - set(self.decoders.modalities)
        if unknown:
            raise ValueError(f"no decoder for {sorted(unknown)}; decoders has {sorted(self.decoders.modalities)}")
        if not self.members or len({member.name for member in self.members}) != len(self.members):
            raise ValueError("a mixture needs members with names of their own; leave the mixture out for none")
        return self


# --- action heads -----------------------------------------------------------------------------------------------------


class DitConfig(NetConfig):
    """The diffusion transformer under the flow and EDM heads: an encoder of the condition, a decoder of action rows."""

    width: int = 384
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 4
    attention_dropout: float = 0.3
    residual_dropout: float = 0.1
    mlp_dropout: float = 0.05
    causal: bool = False
    """Rows of actions see only earlier rows, as in the release; such a head mixes two ways of doing a thing more often."""
    causal_context: bool = False
    """Row i reads the tokens 0 … i of the context alone, which is what the release's cross-attention does."""
    words: bool = True
    """The instruction's tokens beside the pooled sentence."""
    state_dropout: float = 0.0
    """How often training hides the state, against learning to copy it."""


class FlowHeadConfig(NetConfig):
    """Flow matching (paper): noise at flow time 0, data at 1, Euler steps."""

    kind: Literal["flow"] = "flow"
    dit: DitConfig = DitConfig()
    steps: int = 10
    early_bias: float = Field(default=1.0, gt=0)
    """Flow times in training are 1 − u ** (1 / early_bias) for u uniform in 0 … 1: above 1, noisy ones come more often."""
    draws: int = Field(default=1, ge=1)
    """Noises and flow times tried in training for each condition, which is encoded once."""
    max_prefix: int = Field(default=0, ge=0)
    """Rows already committed that training may show clean, so that ``sample`` can continue as many; 0: none, and the head is not told
    of any."""


class EdmHeadConfig(NetConfig):
    """The same network as an EDM denoiser with DDIM steps (release)."""

    kind: Literal["edm"] = "edm"
    dit: DitConfig = DitConfig()
    steps: int = 10
    sigma_data: float = 0.5
    sigma_min: float = 0.001
    sigma_max: float = 80.0


class DdpmHeadConfig(NetConfig):
    """The same network as it is told to predict the noise, with DDIM steps (Diffusion Policy, an outside baseline)."""

    kind: Literal["ddpm"] = "ddpm"
    dit: DitConfig = DitConfig()
    levels: int = Field(default=100, ge=2)
    """Noise levels of training, on the squared-cosine schedule."""
    steps: int = Field(default=16, ge=1)
    span: float = Field(default=1.5, gt=0)
    """Guesses at the clean actions, normalised, are cut to −span … span on the way."""


class ArHeadConfig(NetConfig):
    """An autoregressive transformer over discretised actions (paper, table 11)."""

    kind: Literal["ar"] = "ar"
    dit: DitConfig = DitConfig()
    bins: int = 256
    span: float = 1.5
    """Bins cover −span … span of normalised action."""


HeadConfig = Annotated[FlowHeadConfig | EdmHeadConfig | DdpmHeadConfig | ArHeadConfig, Field(discriminator="kind")]


# --- all together -----------------------------------------------------------------------------------------------------


class MolaConfig(NetConfig):
    num_cameras: int = 2
    horizon: int = 10
    """K."""
    action_size: int = 7
    """A."""
    state_size: int = 13
    """S; 0 for a policy without proprioception."""
    language: LanguageConfig = LanguageConfig()
    backbone: BackboneConfig | None
    """None only with an image encoder of the policy's own."""
    visual: VisualConfig = VideoFormerConfig()
    mixture: MixtureConfig | None = MixtureConfig()
    """None: features straight to the head (VPP-like)."""
    head: HeadConfig = FlowHeadConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> "MolaConfig":
        if self.backbone is None and (self.mixture is not None or self.visual.kind == "video_former"):
            raise ValueError("without a backbone there is no mixture and the visual tokens need an image_encoder")
        if self.backbone is not None and self.backbone.token_width != self.language.token_width:
            raise ValueError(
                f"the backbone reads tokens of {self.backbone.token_width}, language gives {self.language.token_width}"
            )
        return self
