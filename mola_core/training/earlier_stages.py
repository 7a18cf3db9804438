"""What a stage takes from the stages before it: of the same call, of this run's folder, or of the checkpoint that it starts from."""

from collections.abc import Sequence
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_core.nets.mixture import MixtureOfIdms
from mola_core.nets.mola import Mola
from mola_core.runtime.language import SentenceEncoder
from mola_core.training.checkpoint import (
    MODEL_PREFIX,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    model_weights,
    put_weights,
    read_weights,
    require_fitting,
)
from mola_core.training.language import require_encoder
from mola_core.training.naming import under
from mola_core.training.recipe import Recipe
from mola_core.training.recipes.differences import differences
from mola_core.training.retention import FINAL
from mola_core.training.run import Run
from mola_core.training.stage_order import STAGES, WITHOUT_WORDS


def base_of(run: Run, model: Mola) -> Checkpoint | None:
    """What ``--from`` names; ``model`` has the shapes of what is to be trained.

    Raises:
        CheckpointError: that is no checkpoint, a damaged one, or none that ``--take`` can take from.
    """
    if run.base is None:
        return None
    base = load_checkpoint(run.base)
    if run.take and base.stage != "policy":
        raise CheckpointError(f"{base.path} is of stage {base.stage}; --take needs a policy's checkpoint")
    weights = model_weights(base) if run.take else {}
    for name in run.take:
        require_fitting(model.get_submodule(name), under(weights, name), where=f"{base.path}, {name}")
    return base


def require_takeable(run: Run, wanted: Sequence[str], *, parts: Sequence[str]) -> None:
    """Refuse ``run.take`` where nothing can be taken; ``parts`` are those of the model.

    Raises:
        ConfigError: no base to take from, no stage to begin with it, or the model has no such part.
    """
    if run.take and (run.base is None or "policy" not in wanted):
        raise ConfigError("--take is for stage III, and needs --from with a policy's checkpoint")
    for name in run.take:
        if name not in parts:
            raise ConfigError(f"--take {name}: no part of this model; it has {', '.join(parts)}")


def policy_before(run: Run, base: Checkpoint | None) -> Checkpoint | None:
    """The policy that goes on learning, from other demonstrations for instance; None where this one begins from earlier stages, which
    is said where it might be a surprise.
    """
    if base is None or run.take or base.stage != "policy":
        return None
    differing = differences(
        base.recipe.model.model_dump(mode="json"), run.recipe.model.model_dump(mode="json"), where="model"
    )
    mixtures = base.recipe.policy.mixture, run.recipe.policy.mixture
    if not (mixtures[1] == "finetuned" or mixtures == ("frozen", "frozen")):
        differing.append(f"policy.mixture was {mixtures[0]!r} and is {mixtures[1]!r}")
    if differing:
        run.reporter.event(
            f"the policy of {run.base} does not go on, a new one begins: {'; '.join(differing[:3])} (--take begins with parts of it)"
        )
    return None if differing else base


def take_over(
    model: Mola, stage: str, *, run: Run, base: Checkpoint | None, encoder: SentenceEncoder, made_here: Sequence[str]
) -> None:
    """Load the parts of ``model`` that earlier stages have made: those of this call, those of ``base``, or this run's of before.

    Raises:
        CheckpointError: an earlier stage has not been run, or its checkpoint is of another architecture or sentence encoder.
    """
    backbone = run.recipe.model.backbone
    if stage == "video" and base is not None and _reaches(base, stage) and base.recipe.model.backbone == backbone:
        require_encoder(base, encoder.digest)
        weights = under(read_weights(base), MODEL_PREFIX + "backbone")
        put_weights(model.get_submodule("backbone"), weights, where=f"{base.path}, backbone")
        return
    for source, parts in _needed(stage, run.recipe):
        if base is not None and source not in made_here and _reaches(base, source):
            made = base
        else:
            made = _made_before(run.folder / source / FINAL, source=source, stage=stage)
        if source != WITHOUT_WORDS:
            require_encoder(made, encoder.digest)
        weights = read_weights(made)
        for part in parts:
            module, own = model.get_submodule(part), under(weights, MODEL_PREFIX + part)
            if isinstance(module, MixtureOfIdms):
                own = module.without_others(own)  # a smaller mixture takes the members that it has
            put_weights(module, own, where=f"{made.path}, {part}")


def _made_before(path: Path, *, source: str, stage: str) -> Checkpoint:
    if not (path / "checkpoint.json").is_file():
        raise CheckpointError(
            f"stage {stage} builds on stage {source}, and {path} is not there; train that first, or name a checkpoint "
            "with --from"
        )
    return load_checkpoint(path)


def take_parts(model: Mola, take: Sequence[str], *, base: Checkpoint) -> None:
    """Load the parts ``take`` from the policy of ``base``.

    Raises:
        CheckpointError: the part is of another architecture.
    """
    weights = model_weights(base) if take else {}
    for name in take:
        put_weights(model.get_submodule(name), under(weights, name), where=f"{base.path}, {name}")


def _reaches(base: Checkpoint, source: str) -> bool:
    """Whether ``base`` was written in stage ``source`` or a later one."""
    return STAGES.index(base.stage) >= STAGES.index(source)


def _needed(stage: str, recipe: Recipe) -> list[tuple[str, tuple[str, ...]]]:
    """Earlier stages with the parts of the model that are taken from each."""
    has_learned_coder = recipe.autoencoder is not None
    if stage == "video":
        return [("autoencoder", ("backbone.autoencoder",))] if has_learned_coder else []
    if stage in {"idm", "policy"} and recipe.video is not None:
        needed: list[tuple[str, tuple[str, ...]]] = [("video", ("backbone",))]
        if stage == "policy" and recipe.idm is not None and recipe.policy.mixture != "from_scratch":
            needed.append(("idm", ("tokens", "mixture")))
        return needed
    return []
