"""Stage III: mixture, visual tokens and action head learn together from demonstrations; the video model is frozen."""

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.normalization import Normalization
from mola_core.data.windows import Split
from mola_core.nets.mola import Mola
from mola_core.training.attention_maps import attention_picture
from mola_core.training.batches import on_device
from mola_core.training.code_usage import code_usage
from mola_core.training.datasets import joined_or_none
from mola_core.training.demonstrations import Demonstrations, demonstrations_of
from mola_core.training.naming import all_but
from mola_core.training.openings import with_openings
from mola_core.training.policy_objective import PolicyObjective
from mola_core.training.recipe import PolicyStage
from mola_core.training.resident import resident
from mola_core.training.samples import spaced
from mola_core.training.stage import Learner, Pictures, Stage
from mola_core.training.workbench import Workbench

_SHOWN = 4


def policy_learner(spec: PolicyStage, model: Mola) -> Learner[PolicyObjective]:
    """Trains all but the video model, and but the mixture where the recipe freezes that.

    Raises:
        ConfigError: what is to be cached cannot be, or cells are asked that the model's reader does not have.
    """
    _require_cacheable(spec, model)
    objective = PolicyObjective(model, spec)
    trained = ["model.visual", "model.head"]
    trained += ["readout"] if objective.readout is not None else []
    trained += ["cells"] if objective.cells else []
    if model.mixture is not None and spec.mixture != "frozen":
        trained += ["model.tokens", "model.mixture"]
    return Learner(objective, frozen=all_but(objective, trained))


def policy_stage(spec: PolicyStage, bench: Workbench, *, normalization: Normalization) -> Stage:
    """:func:`policy_learner` on demonstrations.

    Raises:
        ConfigError: see there; or openings are asked for, and the demonstrations have none.
    """
    learner = policy_learner(spec, bench.model)
    objective = learner.objective

    def sources(split: Split) -> list[Demonstrations]:
        return [demonstrations_of(part, spec, bench, split, normalization=normalization) for part in bench.parts]

    training, shares = with_openings(resident(sources("train"), bench.world), spec, bench)
    validation = joined_or_none(sources("validation"))
    split: Split = "train" if validation is None else "validation"
    shown = demonstrations_of(bench.parts[0], spec, bench, split, normalization=normalization, with_pictures=True)

    def pictures() -> Pictures:
        if bench.model.mixture is None:
            return {}
        batch = on_device(shown.batch(spaced(len(shown), _SHOWN)), bench.world.device)
        looked = attention_picture(bench.model, objective.transition(batch), batch["frames"].cpu().numpy())
        return {"attention": looked, "codes": code_usage(bench.model)}

    return Stage(
        name="policy",
        spec=spec,
        objective=objective,
        frozen=learner.frozen,
        training=training,
        shares=shares,
        validation=validation,
        sums=objective.sums,
        pictures=pictures,
    )


def _require_cacheable(spec: PolicyStage, model: Mola) -> None:
    if spec.cache_features and model.needs_latents:
        raise ConfigError(
            "tokens from pixels need imagined pictures, which are not cached; set policy.cache_features=false"
        )
