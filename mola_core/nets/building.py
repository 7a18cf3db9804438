"""From a configuration to the parts of a model with fresh weights."""

from mola_core.nets.ar_head import ArHead
from mola_core.nets.config import (
    BackboneConfig,
    DdpmHeadConfig,
    EdmHeadConfig,
    FlowHeadConfig,
    ImageEncoderConfig,
    KeypointsConfig,
    MolaConfig,
    PixelTokensConfig,
    StackedVideoConfig,
    SvdConfig,
    TokensConfig,
    WanConfig,
)
from mola_core.nets.ddpm_head import DdpmHead
from mola_core.nets.dit import HeadSizes
from mola_core.nets.edm_head import EdmHead
from mola_core.nets.flow_head import FlowHead
from mola_core.nets.image_encoder import ImageEncoder
from mola_core.nets.keypoints import Keypoints
from mola_core.nets.mixture import MixtureOfIdms
from mola_core.nets.small_video import SmallVideo
from mola_core.nets.stacked_video import StackedVideo
from mola_core.nets.svd import SvdVideo
from mola_core.nets.tokens import FeatureTokens, PixelTokens
from mola_core.nets.video_former import VideoFormer
from mola_core.nets.wan import WanVideo

Backbone = SmallVideo | StackedVideo | SvdVideo | WanVideo
Visual = VideoFormer | Keypoints | ImageEncoder
Tokens = FeatureTokens | PixelTokens
Head = FlowHead | EdmHead | DdpmHead | ArHead


def build_backbone(config: BackboneConfig) -> Backbone:
    """The video network."""
    if isinstance(config, StackedVideoConfig):
        return StackedVideo(config)
    if isinstance(config, SvdConfig):
        return SvdVideo(config)
    if isinstance(config, WanConfig):
        return WanVideo(config)
    return SmallVideo(config)


def build_visual(config: MolaConfig, backbone: Backbone | None) -> Visual:
    """What gives the head its visual tokens."""
    if isinstance(config.visual, ImageEncoderConfig):
        return ImageEncoder(config.visual, num_cameras=config.num_cameras)
    if backbone is None:
        raise ValueError("a video former needs a backbone")
    width, rows, columns = backbone.feature_shape
    if isinstance(config.visual, KeypointsConfig):
        return Keypoints(
            config.visual,
            feature_shape=backbone.feature_shape,
            frames=backbone.num_frames,
            num_cameras=config.num_cameras,
            token_width=config.language.token_width,
        )
    return VideoFormer(
        config.visual,
        feature_width=width,
        frames=backbone.num_frames,
        cells=config.num_cameras * rows * columns,
    )


def build_tokens(config: TokensConfig, view: BackboneConfig, backbone: Backbone) -> Tokens:
    """What gives the mixture its tokens of now and of the future."""
    if isinstance(config, PixelTokensConfig):
        return PixelTokens(config, height=view.height, width=view.width)
    return FeatureTokens(config, feature_shape=backbone.feature_shape)


def build_head(config: MolaConfig, *, visual: Visual, mixture: MixtureOfIdms | None) -> Head:
    """The action head, cut to what the other parts give."""
    sizes = HeadSizes(
        action_size=config.action_size,
        horizon=config.horizon,
        state_size=config.state_size,
        pooled_width=config.language.pooled_width,
        token_width=config.language.token_width,
        num_words=config.language.length,
        visual_width=visual.width,
        num_visual=visual.num_tokens,
        latent_width=0 if mixture is None else mixture.width,
        num_latents=0 if mixture is None else mixture.num_latents,
    )
    if isinstance(config.head, FlowHeadConfig):
        return FlowHead(config.head, sizes)
    if isinstance(config.head, EdmHeadConfig):
        return EdmHead(config.head, sizes)
    if isinstance(config.head, DdpmHeadConfig):
        return DdpmHead(config.head, sizes)
    return ArHead(config.head, sizes)
