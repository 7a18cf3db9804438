"""What each stage of a recipe trains."""

from torch import nn

from mola_core.nets.mola import Mola
from mola_core.training.recipe import Recipe
from mola_core.training.stage import Learner
from mola_core.training.stage1_autoencoder import autoencoder_learner
from mola_core.training.stage1_video import video_learner
from mola_core.training.stage2_idm import idm_learner
from mola_core.training.stage3_policy import policy_learner


def learner_of(stage: str, recipe: Recipe, model: Mola) -> Learner[nn.Module]:
    """Of ``stage``, which the recipe has.

    Raises:
        ConfigError: settings of that stage that do not go with the model.
        UnsupportedError: the model cannot be trained in that stage.
    """
    if stage == "autoencoder" and recipe.autoencoder is not None:
        return autoencoder_learner(recipe.autoencoder, model)
    if stage == "video" and recipe.video is not None:
        return video_learner(recipe.video, model)
    if stage == "idm" and recipe.idm is not None:
        return idm_learner(recipe.idm, model)
    return policy_learner(recipe.policy, model)
