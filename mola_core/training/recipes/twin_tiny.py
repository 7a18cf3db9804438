"""The whole line in minutes: does everything fit together, and does anything learn."""

from mola_core.nets.config import AutoencoderConfig, DecodersConfig, SmallVideoConfig
from mola_core.training.recipe import Recipe
from mola_core.training.recipes.changes import changed
from mola_core.training.recipes.twin import CAMERAS, twin, twin_io


def twin_tiny() -> Recipe:
    """The twin's recipe with smaller pictures and networks, and few steps."""
    recipe = twin()
    io = twin_io(width=80, height=48, horizon=12, execute_steps=6, foresight=(3, 6, 10))
    backbone = SmallVideoConfig(
        height=48,
        width=80,
        num_frames=1 + len(io.foresight_offsets),
        num_cameras=len(CAMERAS),
        autoencoder=AutoencoderConfig(widths=(16, 32, 48), latent_channels=8),
        widths=(48, 64),
        attention_levels=(0, 1),
        tap_levels=(1, 0),
        head_width=16,
        predict="change",
    )
    return changed(
        recipe,
        name="twin-tiny",
        summary="the whole line from demonstrations to a score in minutes; no policy to speak of",
        io=io,
        model={
            "horizon": io.horizon,
            "backbone": backbone,
            "visual": {"width": 96, "depth": 1, "heads": 3, "queries_per_frame": 6},
            "mixture": {
                "tokens": {"width": 96, "future_frame": 3},
                "idm": {"width": 96, "heads": 3, "mlp_width": 192, "layers": 1, "codebook": {"size": 32}},
                "decoders": DecodersConfig(width=64, depth=1, heads=2),
            },
            "head": {"dit": {"width": 96, "heads": 3, "encoder_layers": 2, "decoder_layers": 2}, "steps": 6},
        },
        autoencoder={"steps": 300, "batch_size": 16},
        video={"steps": 600, "batch_size": 8},
        idm={"steps": 300, "batch_size": 16},
        policy={"steps": 1_500, "batch_size": 32},
    )
