"""A MoLA of a few thousand weights, for tests of everything that follows training."""

import torch

from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.contracts.normalization import Normalization, Scaling
from mola_core.export.exporting import Exportable
from mola_core.nets.config import (
    CodebookConfig,
    CosineConfig,
    DitConfig,
    FeatureTokensConfig,
    FlowHeadConfig,
    IdmConfig,
    LanguageConfig,
    MixtureConfig,
    MolaConfig,
    StackedVideoConfig,
    VideoFormerConfig,
)
from mola_core.nets.language import build_encoder
from mola_core.nets.mola import build_mola

CAMERAS = ("third_person", "wrist")


def micro_io() -> IoSpec:
    return IoSpec(
        contract=DataContract(cameras=CAMERAS, period_ns=100_000_000),
        views=tuple(CameraView(camera=camera, width=32, height=16) for camera in CAMERAS),
        horizon=6,
        execute_steps=3,
        foresight_offsets=(2,),
    )


def micro_config() -> MolaConfig:
    return MolaConfig(
        num_cameras=2,
        horizon=6,
        language=LanguageConfig(length=8),
        backbone=StackedVideoConfig(
            height=16,
            width=32,
            num_frames=2,
            latents=CosineConfig(luma=4, chroma=2),
            width_fine=16,
            width_coarse=16,
            blocks_coarse=1,
            embedding=16,
            feature_width=8,
        ),
        visual=VideoFormerConfig(width=16, depth=1, heads=2, head_width=8, queries_per_frame=2),
        mixture=MixtureConfig(
            tokens=FeatureTokensConfig(width=16, future_frame=1),
            idm=IdmConfig(
                num_queries=2, layers=1, width=16, heads=2, mlp_width=16, codebook=CodebookConfig(size=8, width=4)
            ),
        ),
        head=FlowHeadConfig(
            dit=DitConfig(width=16, heads=2, encoder_layers=1, decoder_layers=1), steps=2, max_prefix=2
        ),
    )


def micro_model(*, seed: int = 0) -> Exportable:
    """Random weights; small steps, so that an arm can follow what it asks."""
    torch.manual_seed(seed)
    mola = build_mola(micro_config())
    for name, weight in mola.named_parameters():
        if (
            ".modulation." in name
        ):  # begins at zero: rows of a chunk would know nothing of each other, nor of their times
            torch.nn.init.normal_(weight, std=0.3)
    return Exportable(
        mola=mola,
        io=micro_io(),
        normalization=Normalization(
            state=Scaling(offset=(0.0,) * 13, scale=(1.0,) * 13),
            action=Scaling(offset=(0.0,) * 6 + (0.5,), scale=(0.005,) * 6 + (0.5,)),
        ),
        language=build_encoder(micro_config().language),
        training={"recipe": "micro", "step": 0, "weights_sha256": "0" * 64},
    )
