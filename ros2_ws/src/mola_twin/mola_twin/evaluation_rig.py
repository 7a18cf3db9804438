"""The lockstep twin as the evaluation of policies knows a rig; see :mod:`mola_core.contracts.rig`."""

import time
from pathlib import Path

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.rig import EpisodeStart, RigView, Verdict
from mola_core.contracts.site import load_site
from mola_core.contracts.types import ActionChunk
from mola_twin.expert.expert import Expert, make_expert
from mola_twin.expert.trials import unmet
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import TASKS, task_spec
from mola_twin.tasks.variants import VARIANTS


def open_rig(site_path: Path) -> "EvaluationRig":
    """The rig of a site file.

    Raises:
        ConfigError: the file is missing or does not describe the twin.
    """
    return EvaluationRig(LockstepRig(load_site(site_path)))


class EvaluationRig:
    """One twin that moves only when told to, seen through its cameras at the size and shape of the live streams."""

    tasks = tuple(TASKS)
    variants = VARIANTS

    def __init__(self, rig: LockstepRig) -> None:
        self._rig = rig
        self._expert: Expert | None = None
        self.rendering_s = 0.0
        """Wall time spent drawing, for those who ask where it went."""

    @property
    def max_plan_age_ns(self) -> int:
        return self._rig.site.safety.max_observation_age_ms * NS_PER_MS

    def reset(self, *, task: str, seed: int, variant: str) -> EpisodeStart:
        start = self._rig.reset(task=task, seed=seed, variant=variant)
        self._expert = None
        return EpisodeStart(
            task=task,
            seed=seed,
            variant=variant,
            instruction=start.instruction,
            time_limit_s=task_spec(task).time_limit_s,
        )

    def now_ns(self) -> int:
        return self._rig.clock.now_ns()

    def elapsed_s(self) -> float:
        return self._rig.cell.elapsed_s

    def observe(self) -> RigView:
        begin = time.perf_counter()
        frames: dict[str, np.ndarray] = {}
        for name, stream in self._rig.site.cameras.items():
            frames[name] = self._rig.frame(name, width=stream.width, height=stream.height).color
        self.rendering_s += time.perf_counter() - begin
        return RigView(stamp_ns=self.now_ns(), frames=frames, state=self._rig.state())

    def step(self, chunk: ActionChunk | None, *, duration_ns: int) -> None:
        self._rig.step(chunk, duration_s=duration_ns / NS_PER_S)

    def scripted_chunk(self) -> ActionChunk:
        if self._expert is None:
            self._expert = make_expert(self._rig.start.task, self._rig.site)
        seen = self._rig.observe()
        return self._expert.act(truth=seen.truth, state=seen.state, now_ns=self.now_ns())

    @property
    def stop_reason(self) -> str:
        return "" if self._rig.engaged else self._rig.stop_reason or "the servo stopped"

    def verdict(self) -> Verdict:
        success = self._rig.success()
        return Verdict(done=success.done, reason="done" if success.done else unmet(success.conditions))

    def close(self) -> None:
        self._rig.close()
