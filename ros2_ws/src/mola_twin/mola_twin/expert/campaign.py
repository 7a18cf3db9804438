"""Trials spread over worker processes, and how much faster than real time they ran."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.site import load_site
from mola_twin.expert.trials import Trial, TrialSettings, run_trial
from mola_twin.lockstep import LockstepRig


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode to run."""

    task: str
    seed: int
    settings: TrialSettings


@dataclass(frozen=True)
class Campaign:
    """All trials of one run."""

    trials: list[Trial]
    wall_s: float

    @property
    def real_time_factor(self) -> float:
        """Simulated seconds for each second of wall time, all workers together."""
        return sum(trial.duration_s for trial in self.trials) / self.wall_s


def run_campaign(
    site_path: Path,
    episodes: Sequence[Episode],
    *,
    workers: int,
    progress: Callable[[Trial], None] = lambda _trial: None,
) -> Campaign:
    """Run ``episodes`` in ``workers`` processes; ``progress`` hears of each as it ends. Their order does not matter to them."""
    begin = time.perf_counter()
    trials = []
    # spawned, not forked: each worker has an OpenGL context of its own
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(site_path,)) as pool:
        for trial in pool.map(_run, episodes):
            trials.append(trial)
            progress(trial)
    return Campaign(trials=trials, wall_s=time.perf_counter() - begin)


class _Worker:
    """The rig of this process."""

    rig: LockstepRig | None = None


def _begin_worker(site_path: Path) -> None:
    _Worker.rig = LockstepRig(load_site(site_path))


def _run(episode: Episode) -> Trial:
    assert _Worker.rig is not None  # noqa: S101  # the pool has begun this worker
    return run_trial(_Worker.rig, task=episode.task, seed=episode.seed, settings=episode.settings)
