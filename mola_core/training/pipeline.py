"""The stages of a recipe, one after the other, from datasets to a checkpoint that acts."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mola_core.cli.report import git_state
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.normalization import Normalization
from mola_core.data.statistics import normalization_of
from mola_core.nets.language import build_encoder
from mola_core.nets.mola import Mola, build_mola
from mola_core.runtime.language import SentenceEncoder, require_option
from mola_core.training.checkpoint import Checkpoint, model_weights, put_weights
from mola_core.training.datasets import open_parts, said_of_skipped
from mola_core.training.demonstrations import policy_window
from mola_core.training.draws import seed_of
from mola_core.training.earlier_stages import base_of, policy_before, require_takeable, take_over, take_parts
from mola_core.training.language import require_encoder
from mola_core.training.loop import Surroundings, run_stage
from mola_core.training.preconditions import require_data
from mola_core.training.rehearsal import rehearse
from mola_core.training.retention import FINAL
from mola_core.training.run import Run, claim, is_done
from mola_core.training.stage import Stage
from mola_core.training.stage1_autoencoder import autoencoder_stage
from mola_core.training.stage1_video import video_stage
from mola_core.training.stage2_idm import idm_stage
from mola_core.training.stage3_policy import policy_stage
from mola_core.training.stage_order import STAGES, WITHOUT_WORDS
from mola_core.training.workbench import Workbench


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
    left = [stage for stage in wanted if not is_done(run, stage)]
    require_option(run.recipe.model.language.encoder, weights=run.language_weights)
    rehearsed = rehearse(run.recipe, left, world=run.world)
    require_takeable(run, wanted, parts=[name for name, _ in rehearsed.named_children()])
    require_data(run.recipe, left, data=run.data, skip_bad=run.skip_bad)
    if not left:  # what it began with is no longer asked for
        claim(run)
        return run.folder / wanted[-1] / FINAL
    base = base_of(run, rehearsed)
    encoder = build_encoder(run.recipe.model.language, weights=run.language_weights)
    claim(run)
    for name in left:
        _train_one(run, name, base=base, encoder=encoder, made_here=wanted[: wanted.index(name)])
    return run.folder / wanted[-1] / FINAL


def _train_one(
    run: Run, name: str, *, base: Checkpoint | None, encoder: SentenceEncoder, made_here: Sequence[str]
) -> None:
    recipe = run.recipe
    torch.manual_seed(seed_of(recipe.seed, "weights"))
    model = build_mola(recipe.model)
    before = policy_before(run, base) if name == "policy" and not made_here else None
    if before is None:
        take_over(model, name, run=run, base=base, encoder=encoder, made_here=made_here)
        if name == "policy" and base is not None:
            take_parts(model, run.take, base=base)
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
        language_digest=None if name == WITHOUT_WORDS else encoder.digest,
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
