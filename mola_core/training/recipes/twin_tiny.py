"""The whole line in minutes: does everything fit together, and does anything learn."""

from mola_core.training.recipe import Recipe
from mola_core.training.recipes.changes import changed
from mola_core.training.recipes.twin import twin, twin_io


def twin_tiny() -> Recipe:
    """The twin's recipe with smaller pictures and networks, and few steps."""
    return changed(
        twin(),
        name="twin-tiny",
        summary="the whole line from demonstrations to a score in minutes; no policy to speak of",
        io=twin_io(width=80, height=48, horizon=16, execute_steps=5, foresight=(8, 16)),
        model={
            "backbone": {"width": 80, "height": 48, "width_fine": 64, "width_coarse": 96, "feature_width": 32},
            "visual": {"width": 96, "inner": 64, "keypoints": 16, "blocks": 0, "imagined": "whole"},
            "mixture": {
                "tokens": {"width": 64, "patch": 2},
                "idm": {"width": 64, "heads": 2, "mlp_width": 128, "layers": 1, "codebook": {"size": 32}},
                "decoders": {"width": 64, "depth": 1, "heads": 2},
            },
            "head": {"dit": {"width": 96, "heads": 3, "encoder_layers": 1, "decoder_layers": 2}},
        },
        video={"steps": 500, "batch_size": 32},
        idm={"steps": 200},
        policy={"steps": 1_500, "semantic_weight": 0.0, "referred_weight": 0.0},
    )
