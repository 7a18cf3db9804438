"""A MoLA small enough to learn the twin's tasks on two CPU cores."""

from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
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
from mola_core.training.recipe import (
    AutoencoderStage,
    CosineSchedule,
    IdmStage,
    MixturePart,
    OptimizerSpec,
    PolicyStage,
    Recipe,
    VideoStage,
)

CAMERAS = ("third_person", "wrist")
PERIOD_NS = 100_000_000
"""Of the twin's generated demonstrations."""


def twin_io(*, width: int, height: int, horizon: int, execute_steps: int, foresight: tuple[int, ...]) -> IoSpec:
    """Both cameras of the twin at one size."""
    return IoSpec(
        contract=DataContract(cameras=CAMERAS, period_ns=PERIOD_NS),
        views=tuple(CameraView(camera=camera, width=width, height=height) for camera in CAMERAS),
        horizon=horizon,
        execute_steps=execute_steps,
        foresight_offsets=foresight,
    )


def twin() -> Recipe:
    """All five tasks of the twin."""
    io = twin_io(width=160, height=96, horizon=16, execute_steps=8, foresight=(2, 4, 6, 9, 12))
    model = MolaConfig(
        num_cameras=len(CAMERAS),
        horizon=io.horizon,
        language=LanguageConfig(encoder="minilm"),
        backbone=SmallVideoConfig(
            height=96,
            width=160,
            num_frames=1 + len(io.foresight_offsets),
            num_cameras=len(CAMERAS),
            autoencoder=AutoencoderConfig(widths=(32, 64, 96), latent_channels=8),
            widths=(64, 96, 128),
            predict="change",
        ),
        visual=VideoFormerConfig(width=192, depth=2, heads=6, head_width=32, queries_per_frame=8, positions=True),
        mixture=MixtureConfig(
            tokens=FeatureTokensConfig(cameras=(0, 1), width=192, future_frame=4),
            idm=IdmConfig(
                num_queries=4, layers=2, width=192, heads=6, mlp_width=384, codebook=CodebookConfig(size=64, width=16)
            ),
            decoders=DecodersConfig(width=128, depth=2, heads=4),
        ),
        head=FlowHeadConfig(
            dit=DitConfig(
                width=192, heads=6, attention_dropout=0.0, residual_dropout=0.1, mlp_dropout=0.0, causal=False
            )
        ),
    )
    return Recipe(
        name="twin",
        summary="small MoLA for the twin's five tasks; hours on two CPU cores",
        io=io,
        model=model,
        mixture=(MixturePart(dataset="twin", weight=1.0),),
        autoencoder=AutoencoderStage(
            steps=3_000,
            batch_size=32,
            optimizer=OptimizerSpec(learning_rate=1e-3, weight_decay=1e-4),
            schedule=CosineSchedule(warmup_steps=100),
        ),
        video=VideoStage(
            steps=8_000,
            batch_size=16,
            optimizer=OptimizerSpec(learning_rate=4e-4, weight_decay=1e-2),
            schedule=CosineSchedule(warmup_steps=200),
            log_sigma_mean=0.7,
            one_step_share=0.5,
            ema_decay=0.999,
        ),
        idm=IdmStage(
            steps=4_000,
            batch_size=32,
            optimizer=OptimizerSpec(learning_rate=3e-4, weight_decay=1e-2),
            schedule=CosineSchedule(warmup_steps=200),
            imagined_share=1.0,
        ),
        policy=PolicyStage(
            steps=20_000,
            batch_size=64,
            optimizer=OptimizerSpec(learning_rate=4e-4, weight_decay=0.05),
            schedule=CosineSchedule(warmup_steps=500),
            ema_decay=0.999,
        ),
    )
