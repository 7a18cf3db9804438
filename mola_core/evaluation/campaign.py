"""Rollouts spread over worker processes; results are kept as they come."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.rig import LockstepRig
from mola_core.evaluation.film import Film
from mola_core.evaluation.policies import PolicyChoice, open_source
from mola_core.evaluation.results import ResultsFile
from mola_core.evaluation.rigs import open_rig
from mola_core.evaluation.rollout import Episode, Rollout, RolloutSettings, roll_out
from mola_core.evaluation.sources import ChunkSource, PolicySource

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}


@dataclass(frozen=True)
class Campaign:
    """What every worker needs to know."""

    rig: str
    site: Path
    choice: PolicyChoice
    settings: RolloutSettings
    films: Path | None = None
    """Folder for a film of each episode."""


def run_campaign(
    campaign: Campaign,
    episodes: Sequence[Episode],
    *,
    results: ResultsFile,
    workers: int,
    progress: Callable[[Rollout], None] = lambda _rollout: None,
) -> None:
    """Run those of ``episodes`` that ``results`` lacks; their order does not matter to them.

    Raises:
        MolaError: a worker could not open rig or policy, or an evaluation that cannot mean what was asked.
    """
    missing = [episode for episode in episodes if (episode.task, episode.seed) not in results.rollouts]
    if not missing:
        return
    # spawned, not forked: each worker has an OpenGL context and thread pools of its own
    context = multiprocessing.get_context("spawn")
    with _environment(_ONE_THREAD), ProcessPoolExecutor(min(workers, len(missing)), mp_context=context) as pool:
        futures = [pool.submit(_run, campaign, episode) for episode in missing]
        try:
            for future in as_completed(futures):
                rollout = future.result()
                results.add(rollout)
                progress(rollout)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Worker:
    """Rig and source of this process, opened with its first episode."""

    campaign: Campaign | None = None
    rig: LockstepRig
    source: ChunkSource


def _run(campaign: Campaign, episode: Episode) -> Rollout:
    if _Worker.campaign != campaign:
        logging.disable(logging.WARNING)  # what stops an arm is in its rollout's outcome
        _Worker.rig = open_rig(campaign.rig, site=campaign.site)
        _Worker.source = open_source(
            campaign.choice, settle_ns=0 if campaign.settings.untold else campaign.settings.delay_ns
        )
        _Worker.campaign = campaign
    return run_episode(campaign, episode, rig=_Worker.rig, source=_Worker.source)


def run_episode(campaign: Campaign, episode: Episode, *, rig: LockstepRig, source: ChunkSource) -> Rollout:
    """One rollout under the campaign's control, filmed where films are wanted."""
    if campaign.choice.control == "wrong-instruction" and isinstance(source, PolicySource):
        source.say(_other_instruction(rig, episode))
    if campaign.films is None:
        return roll_out(rig, source, episode, settings=campaign.settings)
    path = campaign.films / f"{episode.task}-{episode.variant}-{episode.seed}.mp4"
    with Film(path, source=source) as film:
        return roll_out(rig, source, episode, settings=campaign.settings, watch=film.watch)


def _other_instruction(rig: LockstepRig, episode: Episode) -> str:
    """That of the next task in the same scene."""
    tasks = rig.tasks
    other = tasks[(tasks.index(episode.task) + 1) % len(tasks)]
    return rig.reset(task=other, seed=episode.seed, variant=episode.variant).instruction


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Children inherit ``variables``; ours come back afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
