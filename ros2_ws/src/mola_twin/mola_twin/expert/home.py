"""Where the expert rests between episodes, and how it gets there from any posture."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import ruckig

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.types import NUM_JOINTS, Joints
from mola_twin.cell.layout import HOME_TCP
from mola_twin.expert.tool_path import ToolPose

SPEED, ACCELERATION, JERK = 0.7, 1.5, 10.0
"""rad/s, rad/s^2, rad/s^3 of every joint."""


@lru_cache(maxsize=1)
def home_pose() -> ToolPose:
    """The tool at home."""
    return ToolPose(*HOME_TCP, 0.0)


class JointPath:
    """From one posture at rest to another, all joints arriving together."""

    def __init__(self, start: Joints, goal: Joints) -> None:
        problem = ruckig.InputParameter(NUM_JOINTS)
        problem.current_position = [float(value) for value in start]
        problem.target_position = [float(value) for value in goal]
        problem.max_velocity = [SPEED] * NUM_JOINTS
        problem.max_acceleration = [ACCELERATION] * NUM_JOINTS
        problem.max_jerk = [JERK] * NUM_JOINTS
        self._trajectory = ruckig.Trajectory(NUM_JOINTS)
        ruckig.Ruckig(NUM_JOINTS).calculate(problem, self._trajectory)

    @property
    def duration_s(self) -> float:
        """Time until it rests at the goal."""
        return float(self._trajectory.duration)

    def at(self, time_s: float) -> Joints:
        """Joint positions, rad; the goal for ever after the end."""
        position, _, _ = self._trajectory.at_time(min(max(time_s, 0.0), self.duration_s))
        return np.array(position)


ARRIVED_RAD = 0.01


@dataclass(frozen=True)
class Homing:
    """One way home in joint space, begun at ``begin_ns``."""

    begin_ns: int
    path: JointPath
    goal: Joints

    @classmethod
    def begin(cls, *, start: Joints, goal: Joints, now_ns: int) -> "Homing":
        """From ``start`` at rest."""
        return cls(now_ns, JointPath(start, goal), goal)

    def targets(self, *, now_ns: int, horizon: int, period_ns: int) -> np.ndarray:
        """Joint positions from ``now_ns`` on, ``period_ns`` apart: horizon x 6."""
        stamps_s = (now_ns - self.begin_ns + np.arange(horizon) * period_ns) / NS_PER_S
        return np.array([self.path.at(float(time_s)) for time_s in stamps_s])

    def arrived(self, joints: Joints, *, now_ns: int) -> bool:
        """Whether the path is over and the arm at its end."""
        over = now_ns - self.begin_ns > self.path.duration_s * NS_PER_S
        return over and float(np.abs(joints - self.goal).max()) < ARRIVED_RAD
