"""Stage II: from pairs of frames, latent actions that suffice to draw the future, in RGB and in each member's own modality."""

from mola_core.contracts.errors import ConfigError
from mola_core.nets.config import FeatureTokensConfig
from mola_core.nets.mola import Mola
from mola_core.training.batches import on_device
from mola_core.training.code_usage import code_usage
from mola_core.training.datasets import joined_or_none, mixed
from mola_core.training.idm_objective import IdmObjective
from mola_core.training.naming import all_but
from mola_core.training.recipe import IdmStage
from mola_core.training.reconstructions import reconstructions
from mola_core.training.samples import spaced
from mola_core.training.stage import Learner, Pictures, Stage
from mola_core.training.transitions import mixture_of, transitions_of
from mola_core.training.workbench import Workbench

_SHOWN = 4


def idm_learner(spec: IdmStage, model: Mola) -> Learner[IdmObjective]:
    """Trains tokens, mixture and decoders; the video model is frozen.

    Raises:
        ConfigError: imagined futures are asked for, and the tokens cannot be made from any.
    """
    if spec.imagined_share > 0.0 and not isinstance(mixture_of(model).tokens, FeatureTokensConfig):
        raise ConfigError(
            f"idm.imagined_share {spec.imagined_share:g} needs tokens from features; tokens from pixels see true futures: set "
            "idm.imagined_share=0"
        )
    objective = IdmObjective(model, spec)
    return Learner(objective, frozen=all_but(objective, ["model.tokens", "model.mixture", "rgb", "modalities"]))


def idm_stage(spec: IdmStage, bench: Workbench) -> Stage:
    """:func:`idm_learner` on pairs of frames.

    Raises:
        ConfigError: see there.
    """
    learner = idm_learner(spec, bench.model)
    objective = learner.objective
    training, shares = mixed(
        [transitions_of(part, spec, bench, "train") for part in bench.parts], [part.weight for part in bench.parts]
    )
    validation = joined_or_none([transitions_of(part, spec, bench, "validation") for part in bench.parts])
    shown = validation or training

    def pictures() -> Pictures:
        batch = on_device(shown.batch(spaced(len(shown), _SHOWN)), bench.world.device)
        return {"reconstructions": reconstructions(objective, batch), "codes": code_usage(bench.model)}

    return Stage(
        name="idm",
        spec=spec,
        objective=objective,
        frozen=learner.frozen,
        training=training,
        shares=shares,
        validation=validation,
        sums=objective.sums,
        pictures=pictures,
    )
