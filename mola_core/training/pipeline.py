"""The stages of a recipe, one after the other, from datasets to a checkpoint that acts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mola_core.cli.report import git_state
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.normalization import Normalization
from mola_core.data.statistics import normalization_of
from mola_core.nets.language import build_encoder
from mola_core.nets.mixture import MixtureOfIdms
from mola_core.nets.mola import Mola, build_mola
from mola_core.runtime.language import SentenceEncoder, require_option
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
from mola_core.training.datasets import open_parts, said_of_skipped
from mola_core.training.distributed import World
from mola_core.training.draws import seed_of
from mola_core.training.language import require_encoder
from mola_core.training.loop import Surroundings, run_stage
from mola_core.training.naming import under
from mola_core.training.preconditions import require_data
from mola_core.training.progress import Reporter
from mola_core.training.recipe import Recipe
from mola_core.training.rehearsal import rehearse
from mola_core.training.retention import FINAL
from mola_core.training.stage import Stage
from mola_core.training.stage1_autoencoder import autoencoder_stage
from mola_core.training.stage1_video import video_stage
from mola_core.training.stage2_idm import idm_stage
from mola_core.training.stage3_policy import policy_stage, policy_window
from mola_core.training.stopping import StopRequest
from mola_core.training.workbench import Workbench

RECIPE_FILE = "recipe.json"
STAGES = ("autoencoder", "video", "idm", "policy")
_WITHOUT_WORDS = "autoencoder"
"""The stage that reads no sentence: what it makes goes with any encoder of them."""
NUMBERED = {"stage1": ("autoencoder", "video"), "stage2": ("idm",), "stage3": ("policy",), "all": STAGES}


@dataclass(frozen=True)
class Run:
    """One recipe's training on disk and on this machine."""

    recipe: Recipe
    folder: Path
    data: Mapping[str, Path]
    """Where the recipe's datasets lie."""
    world: World
    reporter: Reporter
    stop: StopRequest
    base: Path | None = None
    """A checkpoint that stands for earlier stages which this call does not run, and that stage I and III go on from where it has
    reached them with the same networks."""
    take: tuple[str, ...] = ()
    """Parts of the model (``visual`` for instance) that stage III begins with as ``base``'s policy has them; the rest of what it
    trains begins anew, whatever the base is. What ablations need that are to differ in one thing."""
    caches: Path | None = None
    """Where caches lie; None: in the run's folder."""
    language_weights: Path | None = None
    skip_bad: bool = False
    """Leave out, and name, the bad files of foreign datasets."""
    workers: int = 0
    within_s: float | None = None
    """End each stage after so long; see :class:`~mola_core.training.loop.Surroundings`."""


def stage_after(stage: str, recipe: Recipe) -> str:
    """The command (a name of NUMBERED) of what is to be trained after ``stage`` of ``recipe``; a policy goes on learning."""
    after = STAGES[STAGES.index(stage) + 1 :]
    following = next((name for name in after if getattr(recipe, name) is not None), STAGES[-1])
    return next(command for command, names in NUMBERED.items() if following in names)


def train(run: Run, stages: Sequence[str]) -> Path:
    """Run ``stages`` (names of STAGES) that the recipe has; the folder of the last one's final checkpoint.

    What any of the stages left to do would refuse is refused before the first of them begins.

    Raises:
        CheckpointError: earlier stages are missing, of another architecture, or were trained with another sentence encoder.
        ConfigError: the folder belongs to another recipe, a dataset's place is not said, the recipe has none of these stages, or its
            sentence encoder cannot be loaded or has no use for ``run.language_weights``; or ``run.take`` names no part, or there is
            no base to take it from; or settings that do not go together (:func:`~mola_core.training.rehearsal.rehearse`).
        DataError: data that a stage could not use (:func:`~mola_core.training.preconditions.require_data`).
        MolaError: see :func:`mola_core.training.loop.run_stage`.
    """
    wanted = [stage for stage in STAGES if stage in stages and getattr(run.recipe, stage) is not None]
    if not wanted:
        raise ConfigError(f"recipe {run.recipe.name} has none of the stages {', '.join(stages)}")
    left = [stage for stage in wanted if not _is_done(run, stage)]
    require_option(run.recipe.model.language.encoder, weights=run.language_weights)
    rehearsed = rehearse(run.recipe, left, world=run.world)
    _require_takeable(run, wanted, parts=[name for name, _ in rehearsed.named_children()])
    require_data(run.recipe, left, data=run.data, skip_bad=run.skip_bad)
    if not left:  # what it began with is no longer asked for
        _claim(run)
        return run.folder / wanted[-1] / FINAL
    base = _base_of(run, rehearsed)
    encoder = build_encoder(run.recipe.model.language, weights=run.language_weights)
    _claim(run)
    for name in left:
        _train_one(run, name, base=base, encoder=encoder, made_here=wanted[: wanted.index(name)])
    return run.folder / wanted[-1] / FINAL


def _is_done(run: Run, stage: str) -> bool:
    return (run.folder / stage / FINAL / "checkpoint.json").is_file()


def _base_of(run: Run, model: Mola) -> Checkpoint | None:
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


def _require_takeable(run: Run, wanted: Sequence[str], *, parts: Sequence[str]) -> None:
    """Refuse ``run.take`` where nothing can be taken; ``parts`` are those of the model.

    Raises:
        ConfigError: no base to take from, no stage to begin with it, or the model has no such part.
    """
    if run.take and (run.base is None or "policy" not in wanted):
        raise ConfigError("--take is for stage III, and needs --from with a policy's checkpoint")
    for name in run.take:
        if name not in parts:
            raise ConfigError(f"--take {name}: no part of this model; it has {', '.join(parts)}")


def _train_one(
    run: Run, name: str, *, base: Checkpoint | None, encoder: SentenceEncoder, made_here: Sequence[str]
) -> None:
    recipe = run.recipe
    torch.manual_seed(seed_of(recipe.seed, "weights"))
    model = build_mola(recipe.model)
    before = _policy_before(run, base) if name == "policy" and not made_here else None
    if before is None:
        _take_over(model, name, run=run, base=base, encoder=encoder, made_here=made_here)
        if name == "policy" and base is not None:
            _take_parts(model, run.take, base=base)
    else:
        require_encoder(before, encoder.digest)
        put_weights(model, model_weights(before), where=str(before.path))
    bench = _bench(run, model, encoder=encoder, policy=name == "policy")
    normalization = None
    if name == "policy":
        # what has been learned was learned in these units, whatever the new demonstrations' statistics are; an imported policy
        # has none, for it comes from other robots
        normalization = None if before is None else before.normalization
        normalization = normalization or _normalization(bench)
    header = Checkpoint(
        path=run.folder,
        recipe=recipe,
        normalization=normalization,
        stage=name,
        step=0,
        metrics={},
        git=git_state(),
        language_digest=None if name == _WITHOUT_WORDS else encoder.digest,
    )
    around = Surroundings(
        folder=run.folder / name,
        header=header,
        seed=recipe.seed,
        world=run.world,
        reporter=run.reporter,
        workers=run.workers,
        within_s=run.within_s,
        stop=run.stop,
    )
    run_stage(_stage(name, bench, normalization), around)


def _stage(name: str, bench: Workbench, normalization: Normalization | None) -> Stage:
    recipe = bench.recipe
    if name == "autoencoder" and recipe.autoencoder is not None:
        return autoencoder_stage(recipe.autoencoder, bench)
    if name == "video" and recipe.video is not None:
        return video_stage(recipe.video, bench)
    if name == "idm" and recipe.idm is not None:
        return idm_stage(recipe.idm, bench)
    if normalization is None:
        raise ValueError(f"stage {name} needs a normalization")
    return policy_stage(recipe.policy, bench, normalization=normalization)


def _bench(run: Run, model: Mola, *, encoder: SentenceEncoder, policy: bool) -> Workbench:
    recipe = run.recipe
    if not run.world.is_main:
        run.world.wait()  # the first process decodes for all
    mixture = (recipe.demonstrations or recipe.mixture) if policy else recipe.mixture
    parts = open_parts(mixture, recipe=recipe, data=run.data, skip_bad=run.skip_bad)
    for line in said_of_skipped(parts):
        run.reporter.event(line)
    if run.world.is_main:
        run.world.wait()
    return Workbench(
        recipe=recipe,
        model=model,
        parts=parts,
        encoder=encoder,
        cache_root=run.caches or run.folder / "caches",
        world=run.world,
        reporter=run.reporter,
    )


def _normalization(bench: Workbench) -> Normalization:
    window = policy_window(bench.recipe.io)
    return normalization_of([part.open(window, "train") for part in bench.parts])


def _claim(run: Run) -> None:
    """Write the recipe beside what it makes, or compare with the one that is there."""
    file = run.folder / RECIPE_FILE
    said = run.recipe.model_dump(mode="json")
    if file.is_file():
        there = json.loads(file.read_text(encoding="utf-8"))
        differing = _differences(there, said)
        if differing:
            raise ConfigError(
                f"{run.folder} belongs to another recipe: {'; '.join(differing[:3])}; choose another --out, or take the settings back"
            )
        return
    run.world.wait()
    if run.world.is_main:
        run.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(said, indent=2), encoding="utf-8")
    run.world.wait()


def _differences(old: object, new: object, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted(old.keys() | new.keys()):
            found += _differences(old.get(name), new.get(name), f"{where}.{name}" if where else name)
        return found
    return [] if old == new else [f"{where} was {old!r} and is {new!r}"]


# --- what a stage takes from the stages before ------------------------------------------------------------------------


def _policy_before(run: Run, base: Checkpoint | None) -> Checkpoint | None:
    """The policy that goes on learning, from other demonstrations for instance; None where this one begins from earlier stages, which
    is said where it might be a surprise.
    """
    if base is None or run.take or base.stage != "policy":
        return None
    differing = _differences(
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


def _take_over(
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
        if source != _WITHOUT_WORDS:
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


def _take_parts(model: Mola, take: Sequence[str], *, base: Checkpoint) -> None:
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
