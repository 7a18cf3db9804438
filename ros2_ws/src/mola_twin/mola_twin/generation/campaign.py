"""All episodes of a plan, spread over worker processes, each stored as it ends."""

import contextlib
import gc
import logging
import multiprocessing
import multiprocessing.util
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.site import Site, load_site
from mola_core.data.labels.store import save_arrays
from mola_twin.cell.physics import ResetRefusedError
from mola_twin.generation.demonstration import Demonstration, FailedEpisode, demonstrate
from mola_twin.generation.desk import GenerationDesk
from mola_twin.generation.lead import Lead
from mola_twin.generation.plan import Assignment
from mola_twin.labels.scene_recorder import SceneRecorder
from mola_twin.lockstep import LockstepRig


def generate(
    site_path: Path,
    desk: GenerationDesk,
    *,
    workers: int,
    progress: Callable[[Assignment, str], None] = lambda _assignment, _outcome: None,
) -> None:
    """Run what is left of the desk's plan; ``progress`` hears of each episode and its outcome (empty: success)."""
    left = list(desk.left())
    # spawned, not forked: each worker has an OpenGL context of its own
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin_worker, initargs=(site_path, desk)
    ) as pool:
        try:
            jobs = {pool.submit(_run, assignment): assignment for assignment in left}
            for job in as_completed(jobs):
                progress(jobs[job], job.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Worker:
    """What this process works with."""

    maker: "EpisodeMaker | None" = None


def _begin_worker(site_path: Path, desk: GenerationDesk) -> None:
    threading.Thread(target=_leave_with_parent, name="leave with parent", daemon=True).start()
    logging.disable(logging.WARNING)  # what stops an arm is in its episode's outcome
    _Worker.maker = EpisodeMaker(load_site(site_path), desk)
    multiprocessing.util.Finalize(None, _end_worker, exitpriority=10)


def _end_worker() -> None:
    """Renderers go while their libraries are still there, and nothing is left over for the interpreter to complain of."""
    if _Worker.maker is not None:
        _Worker.maker.close()
        _Worker.maker = None
    gc.collect()


def _leave_with_parent() -> None:
    """A pool's workers outlive a parent that was killed: each holds the queue open for the others."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(assignment: Assignment) -> str:
    assert _Worker.maker is not None  # noqa: S101  # the pool has begun this worker
    return _Worker.maker.make(assignment)


class EpisodeMaker:
    """One rig that makes and stores episodes. Use it in one thread."""

    def __init__(self, site: Site, desk: GenerationDesk) -> None:
        self._desk = desk
        self._rig = LockstepRig(site)
        self._recorder: SceneRecorder | None = None
        self._lead = None if desk.plan.lead is None else Lead(desk.plan.lead)
        if desk.plan.label_stride:
            width, height = desk.plan.label_size
            self._recorder = SceneRecorder(self._rig, cameras=desk.plan.cameras, width=width, height=height)

    def make(self, assignment: Assignment) -> str:
        """Run and store one episode; why it failed, or nothing."""
        try:
            result = demonstrate(self._rig, assignment, self._desk.plan, recorder=self._recorder, lead=self._lead)
        except (ChunkRejectedError, ResetRefusedError) as error:
            result = FailedEpisode(assignment, str(error))
        if isinstance(result, FailedEpisode):
            self._desk.note_failure(result)
            return result.outcome
        if self._recorder is not None:
            save_arrays(self._desk.labels_path(assignment), self._recorder.arrays())
        self._store(result)
        return ""

    def _store(self, demonstration: Demonstration) -> None:
        assignment, plan = demonstration.assignment, self._desk.plan
        with self._desk.writer() as writer:
            writer.begin_episode(assignment.key)
            for row, (state, action) in enumerate(zip(demonstration.state, demonstration.action, strict=True)):
                images = {name: views[row] for name, views in demonstration.views.items()}
                writer.add_row(state=state, action=action, images=images)
            writer.end_episode(
                demonstration.instruction,
                task=assignment.task,
                seed=assignment.seed,
                variant=plan.variant,
                outcome=demonstration.outcome,
                source="expert",
                mistakes=demonstration.mistakes,
            )

    def close(self) -> None:
        """Release the renderers."""
        with contextlib.closing(self._rig):
            if self._recorder is not None:
                self._recorder.close()
