"""Mistakes made on purpose, so that demonstrations also show how to get out of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mola_twin.expert.stages import Stage
from mola_twin.expert.tool_path import ToolPose

MISTAKE = "detour"
"""Name of the stages that are to be recovered from and not to be imitated."""


@dataclass
class RecoveryNoise:
    """Seeded detours; the default makes none."""

    detour_probability: float = 0.0
    """Chance that an approach first goes to a wrong place nearby."""
    detour_m: float = 0.04
    detour_rad: float = 0.35
    aim_m: float = 0.0
    """Standard deviation of the place over which the tool first stops before it descends at the right one."""
    miss_probability: float = 0.0
    """Chance that the first attempt to take something closes the fingers beside it, and has to be begun again."""
    miss_m: tuple[float, float] = (0.032, 0.055)
    """How far beside it: too far to take hold of it."""
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._misses = self.miss_probability > 0.0 and self._rng.uniform() < self.miss_probability

    def disturb(self, stages: Sequence[Stage]) -> list[Stage]:
        """The same stages with detours before the stage ``above``, or only those of an attempt that misses."""
        if self._misses:
            self._misses = False
            missed = self._missed(stages)
            if missed:
                return missed
        disturbed: list[Stage] = []
        for stage in stages:
            if stage.name == "above" and self._rng.uniform() < self.detour_probability:
                disturbed.append(self._detour(stage))
            if stage.name == "above" and self.aim_m > 0.0:
                shift = self._rng.normal(scale=self.aim_m, size=2)
                disturbed.append(self._shifted(stage, shift, name="aim", turn=0.0, drop=0.0))
            disturbed.append(stage)
        return disturbed

    def _missed(self, stages: Sequence[Stage]) -> list[Stage]:
        """Go over the thing, reach beside it, close, and have nothing more to do; empty where nothing is to be held."""
        names = [stage.name for stage in stages]
        if "above" not in names or "close" not in names or stages[names.index("close")].gate is None:
            return []
        first, last = names.index("above"), names.index("close")
        angle, far = self._rng.uniform(-np.pi, np.pi), self._rng.uniform(*self.miss_m)
        shift = far * np.array([np.cos(angle), np.sin(angle)])
        beside = [self._shifted(stage, shift, name=MISTAKE, turn=0.0, drop=0.0) for stage in stages[first:last]]
        closing = replace(self._shifted(stages[last], shift, name=MISTAKE, turn=0.0, drop=0.0), dwell_s=0.35, gate=None)
        return [*stages[: first + 1], *beside, closing]

    def _detour(self, stage: Stage) -> Stage:
        shift = self._rng.uniform(-self.detour_m, self.detour_m, size=2)
        turn = float(self._rng.uniform(-self.detour_rad, self.detour_rad))
        return self._shifted(stage, shift, name=MISTAKE, turn=turn, drop=float(self._rng.uniform(0.0, 0.02)))

    @staticmethod
    def _shifted(stage: Stage, shift: np.ndarray, *, name: str, turn: float, drop: float) -> Stage:
        aim = stage.target
        dx, dy = float(shift[0]), float(shift[1])
        return replace(
            stage,
            name=name,
            target=lambda truth, entry: _moved(aim(truth, entry), dx, dy, -drop, turn),
            dwell_s=0.0,
        )


def _moved(pose: ToolPose, dx: float, dy: float, dz: float, turn: float) -> ToolPose:
    return pose.moved(x=dx, y=dy, z=dz, yaw=turn)
