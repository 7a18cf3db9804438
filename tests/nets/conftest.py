"""A model of a few thousand parameters with every part of the line, and what it is shown."""

from collections.abc import Callable

import pytest
import torch

from mola_core.nets.config import (
    AutoencoderConfig,
    CodebookConfig,
    DecodersConfig,
    DitConfig,
    FeatureTokensConfig,
    FlowHeadConfig,
    IdmConfig,
    LanguageConfig,
    MixtureConfig,
    MolaConfig,
    SmallVideoConfig,
    VideoFormerConfig,
)
from mola_core.nets.mola import Mola, NetObservation
from mola_core.nets.protocols import Instruction
from mola_core.training.draws import Draws

torch.set_num_threads(1)

LANGUAGE = LanguageConfig(length=6, token_width=16, pooled_width=12)
DIT = DitConfig(
    width=32,
    heads=4,
    encoder_layers=1,
    decoder_layers=2,
    attention_dropout=0.0,
    residual_dropout=0.0,
    mlp_dropout=0.0,
)
IDM = IdmConfig(num_queries=2, layers=1, width=32, heads=2, mlp_width=64, codebook=CodebookConfig(size=16, width=8))
TINY = MolaConfig(
    num_cameras=2,
    horizon=5,
    action_size=3,
    state_size=4,
    language=LANGUAGE,
    backbone=SmallVideoConfig(
        height=32,
        width=48,
        num_frames=3,
        token_width=16,
        autoencoder=AutoencoderConfig(widths=(8, 16), latent_channels=4),
        widths=(16, 24),
        head_width=8,
        attention_levels=(1,),
        tap_levels=(1, 0),
    ),
    visual=VideoFormerConfig(width=32, depth=2, heads=2, head_width=16, queries_per_frame=2, positions=True),
    mixture=MixtureConfig(
        tokens=FeatureTokensConfig(cameras=(0, 1), width=24, future_frame=2),
        idm=IDM,
        decoders=DecodersConfig(width=32, depth=1, heads=2),
    ),
    head=FlowHeadConfig(dit=DIT, steps=4),
)


def drawn(batch: int, *, first: int = 0, seed: int = 3) -> Draws:
    """For the items ``first`` … ``first + batch - 1`` of a batch."""
    return Draws(seed=seed, places=range(first, first + batch), device=torch.device("cpu"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


@pytest.fixture
def tiny() -> MolaConfig:
    return TINY


@pytest.fixture
def seen() -> Callable[..., NetObservation]:
    """``seen(config, batch)``: an observation made up for a model."""

    def make(config: MolaConfig, batch: int = 2) -> NetObservation:
        view = config.backbone or config.visual
        language = config.language
        return NetObservation(
            images=torch.rand(batch, config.num_cameras, 3, view.height, view.width) * 2 - 1,
            instruction=Instruction(
                tokens=torch.randn(batch, language.length, language.token_width),
                mask=torch.arange(language.length)[None].expand(batch, -1) < 4,
                pooled=torch.randn(batch, language.pooled_width),
            ),
            state=torch.randn(batch, config.state_size) if config.state_size else None,
        )

    return make


@pytest.fixture
def video_noise() -> Callable[..., torch.Tensor]:
    """``video_noise(model, batch)``."""

    def make(model: Mola, batch: int = 2) -> torch.Tensor:
        assert model.backbone is not None
        shape = (batch, model.config.num_cameras, model.backbone.num_frames, *model.backbone.latent_shape)
        return torch.randn(shape)

    return make
