"""Every stage of a call set up once without memory or data, so that what would refuse the last one refuses the first."""

from collections.abc import Sequence

import torch

from mola_core.contracts.errors import ConfigError
from mola_core.nets.config import FeatureTokensConfig
from mola_core.nets.mola import Mola, build_mola
from mola_core.training.checks import require_even_parts, require_memory, require_spread
from mola_core.training.distributed import World
from mola_core.training.learners import learner_of
from mola_core.training.recipe import Recipe, StageSpec
from mola_core.training.stage import freeze


def rehearse(recipe: Recipe, stages: Sequence[str], *, world: World) -> Mola:
    """Set up ``stages`` as they will be trained; the model, on torch's meta device, where weights have shapes and no content.

    Raises:
        ConfigError: parts that do not fit each other, a batch that does not divide by the processes, codebooks to be sharded, or
            settings of a stage that do not go with the model.
        TooLittleMemoryError: weights, gradients and optimizer of a stage alone exceed the free memory.
        UnsupportedError: the model cannot be trained in a stage.
    """
    with torch.device("meta"):
        model = _built(recipe)
        _require_transition(model)
        for name in stages:
            learner = learner_of(name, recipe, model)
            freeze(learner.objective, learner.frozen)
            spec: StageSpec = getattr(recipe, name)
            require_even_parts(spec, world, stage=name)
            require_spread(learner.objective, world, stage=name)
            require_memory(learner.objective, spec, world, stage=name, loaded=False)
    return model


def _built(recipe: Recipe) -> Mola:
    try:
        return build_mola(recipe.model)
    except ValueError as error:  # networks do not know of recipes: what they refuse is a number in one
        raise ConfigError(f"the model of recipe {recipe.name} cannot be built: {error}; change its model") from error


def _require_transition(model: Mola) -> None:
    """Refuse tokens of frames that are not imagined, or of cameras that are not there."""
    if model.tokens is None or model.backbone is None:
        return
    tokens, frames, cameras = model.tokens.config, model.backbone.num_frames, model.config.num_cameras
    if not 0 < tokens.future_frame < frames:
        raise ConfigError(
            f"model.mixture.tokens.future_frame {tokens.future_frame} is outside 1..{frames - 1}, the frames that the backbone "
            "imagines; set it to one of them"
        )
    if isinstance(tokens, FeatureTokensConfig) and not 0 <= tokens.now_frame < frames:
        raise ConfigError(
            f"model.mixture.tokens.now_frame {tokens.now_frame} is outside 0..{frames - 1}, the frames that the backbone has; set it "
            "to one of them"
        )
    strange = [camera for camera in tokens.cameras if not 0 <= camera < cameras]
    if strange:
        raise ConfigError(
            f"model.mixture.tokens.cameras names camera {strange[0]}, the recipe has 0..{cameras - 1}; name those that it has"
        )
