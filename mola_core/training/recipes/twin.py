"""A MoLA small enough to learn the twin's tasks on two CPU cores."""

from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.nets.config import (
    CodebookConfig,
    DecodersConfig,
    DitConfig,
    FeatureTokensConfig,
    FlowHeadConfig,
    IdmConfig,
    KeypointsConfig,
    LanguageConfig,
    MixtureConfig,
    MolaConfig,
    StackedVideoConfig,
)
from mola_core.training.recipe import (
    CosineSchedule,
    IdmStage,
    MixturePart,
    Openings,
    OptimizerSpec,
    PictureJitter,
    PolicyStage,
    Recipe,
    VideoStage,
)

CAMERAS = ("third_person", "wrist")
PERIOD_NS = 100_000_000
"""Of the twin's generated demonstrations."""
_BETAS = (0.9, 0.98)
_SCHEDULE = CosineSchedule(warmup_steps=100, final_ratio=0.02)


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
    io = twin_io(width=160, height=96, horizon=16, execute_steps=6, foresight=(8, 16))
    model = MolaConfig(
        num_cameras=len(CAMERAS),
        horizon=io.horizon,
        language=LanguageConfig(encoder="minilm"),
        backbone=StackedVideoConfig(height=96, width=160, num_frames=3, num_cameras=len(CAMERAS)),
        visual=KeypointsConfig(width=128, inner=64, keypoints=16, blocks=1, imagined="coarse"),
        mixture=MixtureConfig(
            tokens=FeatureTokensConfig(cameras=(0,), width=96, now_frame=0, future_frame=2, patch=4),
            idm=IdmConfig(
                num_queries=4,
                layers=1,
                width=96,
                heads=4,
                mlp_width=192,
                codebook=CodebookConfig(size=64, width=4, standardised=True),
            ),
            decoders=DecodersConfig(width=128, depth=2, heads=4),
        ),
        head=FlowHeadConfig(dit=_transformer(width=128, heads=4), steps=6, early_bias=1.3, draws=2, max_prefix=4),
    )
    return Recipe(
        name="twin",
        summary="small MoLA for the twin's five tasks; hours on two CPU cores",
        io=io,
        model=model,
        mixture=(MixturePart(dataset="twin", weight=1.0),),
        video=VideoStage(
            steps=6_000,
            batch_size=64,
            optimizer=OptimizerSpec(learning_rate=1e-3, weight_decay=1e-3, betas=_BETAS),
            schedule=_SCHEDULE,
            one_step_share=0.7,
            cache_latents=False,
            jitter=PictureJitter(),
            ema_decay=0.998,
        ),
        idm=IdmStage(
            steps=3_000,
            batch_size=32,
            optimizer=OptimizerSpec(learning_rate=6e-4, weight_decay=1e-2, betas=_BETAS),
            schedule=_SCHEDULE,
            imagined_share=1.0,
        ),
        policy=PolicyStage(
            steps=30_000,
            batch_size=96,
            optimizer=OptimizerSpec(learning_rate=1e-3, weight_decay=2e-2, betas=_BETAS),
            schedule=_SCHEDULE,
            ema_decay=0.998,
            jitter=PictureJitter(share=0.5, light=0.4, colour=0.08),
            readout_weight=0.5,
            semantic_weight=0.3,
            referred_weight=0.3,
            openings=Openings(rows=8, share=0.35),
            state_noise=0.03,
        ),
    )


def _transformer(*, width: int, heads: int) -> DitConfig:
    """Without dropout: few steps, and noise of its own in every one. Small, for the hours decide: in them a small one sees more."""
    return DitConfig(
        width=width,
        heads=heads,
        encoder_layers=1,
        decoder_layers=2,
        attention_dropout=0.0,
        residual_dropout=0.0,
        mlp_dropout=0.0,
        causal=False,
        words=False,
        state_dropout=0.1,
    )
