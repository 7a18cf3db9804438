"""The paper's model at its size, with the release's numbers where the paper is silent."""

from collections.abc import Mapping

from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.nets.config import (
    CodebookConfig,
    DecodersConfig,
    FeatureTokensConfig,
    IdmConfig,
    LanguageConfig,
    MixtureConfig,
    ModalityConfig,
    MolaConfig,
    SvdConfig,
    VideoFormerConfig,
)
from mola_core.training.recipe import (
    ConstantSchedule,
    CosineSchedule,
    IdmStage,
    MixturePart,
    OptimizerSpec,
    PolicyStage,
    Recipe,
    TriStageSchedule,
    VideoStage,
)

PAPER_STAGE_1: Mapping[str, int] = {
    "something_something_v2": 170_962,
    "rt_1": 84_236,
    "bridge": 27_196,
    "calvin_abc": 19_120,
    "libero": 6_500,
    "libero_plus": 14_347,
}
"""Trajectories of each dataset in the paper's mixture for the video model (table 6); as weights, every trajectory counts alike."""
_TEACHERS = {"depth": "depth_anything_v2", "semantic": "sam2", "flow": "cotracker3"}
_MODALITIES = {
    "depth": ModalityConfig(loss="l1", channels=1),
    "semantic": ModalityConfig(loss="l2", channels=256),  # features of SAM 2's image encoder
    "flow": ModalityConfig(loss="l1", channels=2),
}
_NUM_FRAMES = 16
_SIDE = 256


def full() -> Recipe:
    """Stable Video Diffusion, three inverse dynamics models, flow-matching head: 1.53 B, 90.58 M and 22.90 M parameters."""
    cameras = ("third_person", "wrist")
    io = IoSpec(
        contract=DataContract(cameras=cameras, period_ns=66_666_667),
        views=tuple(CameraView(camera=camera, width=_SIDE, height=_SIDE) for camera in cameras),
        horizon=10,
        execute_steps=10,
        foresight_offsets=tuple(range(1, _NUM_FRAMES)),
    )
    model = MolaConfig(
        num_cameras=len(cameras),
        horizon=io.horizon,
        state_size=0,
        language=LanguageConfig(encoder="clip", length=20, token_width=512, pooled_width=512),
        backbone=SvdConfig(height=_SIDE, width=_SIDE, num_frames=_NUM_FRAMES),
        visual=VideoFormerConfig(),
        mixture=MixtureConfig(
            tokens=FeatureTokensConfig(),
            idm=IdmConfig(codebook=CodebookConfig()),
            decoders=DecodersConfig(modalities=_MODALITIES),
        ),
    )
    return Recipe(
        name="full",
        summary="the paper's model at its size; 8 GPUs of 80 GB",
        io=io,
        model=model,
        mixture=tuple(
            MixturePart(dataset=name, weight=weight, teachers=_TEACHERS) for name, weight in PAPER_STAGE_1.items()
        ),
        demonstrations=(MixturePart(dataset="demonstrations", weight=1.0),),
        validation_share=0.02,
        cache_frames=False,
        video=VideoStage(
            steps=500_000,
            batch_size=48,
            optimizer=OptimizerSpec(learning_rate=5e-6, weight_decay=0.0),
            schedule=ConstantSchedule(),
            precision="fp16",
            activation_checkpointing=True,
            cache_latents=False,
            validate_every=5_000,
            save_every=5_000,
            picture_every=20_000,
        ),
        idm=IdmStage(
            epochs=20,
            batch_size=256,
            optimizer=OptimizerSpec(learning_rate=1e-4, weight_decay=1e-4, betas=(0.9, 0.99)),
            schedule=CosineSchedule(warmup_steps=1_000),
            cache_features=False,
            farthest=None,
            validate_every=1_000,
            save_every=1_000,
        ),
        policy=PolicyStage(
            epochs=20,
            batch_size=32,
            optimizer=OptimizerSpec(learning_rate=1e-4, weight_decay=0.05, betas=(0.9, 0.9)),
            schedule=TriStageSchedule(),
            ema_decay=0.999,
            cache_features=False,
            validate_every=2_000,
            save_every=2_000,
        ),
    )
