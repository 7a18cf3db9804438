"""Straight, jerk-limited motion of a tool that points down: position and a turn about the vertical.

Legs from waypoint to waypoint are computed by Ruckig and strung together with the waits between them, so that a path can be
read at any time ahead and continued from any instant without a step in position, speed or acceleration.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import ruckig

from mola_core.contracts.geometry import Transform
from mola_twin.cell.layout import TOP_DOWN, top_down

DOFS = 4
MAX_ACCELERATION, MAX_JERK = 1.3, 5.0
"""Of the TCP, m/s^2 and m/s^3."""
MAX_TURN, MAX_TURN_ACCELERATION, MAX_TURN_JERK = 1.6, 4.0, 16.0
"""Of the wrist, rad/s and so on."""
SMALLEST_SHARE = 0.3
"""Of the limits above, for an axis along which a leg hardly leads; it must be able to get rid of sideways motion."""
SAME_M, SAME_RAD = 2e-4, 1e-3
"""A goal that moved by less is the same goal."""


@dataclass(frozen=True, slots=True)
class ToolPose:
    """Where a downward tool is: m in the base frame, and the turn from :data:`mola_twin.cell.layout.TOP_DOWN`, rad."""

    x: float
    y: float
    z: float
    yaw: float

    @property
    def transform(self) -> Transform:
        """``base_from_tcp``."""
        return top_down(np.array([self.x, self.y, self.z]), self.yaw)

    def moved(self, *, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> "ToolPose":
        """The same pose, shifted."""
        return ToolPose(self.x + x, self.y + y, self.z + z, self.yaw + yaw)

    def at_height(self, z: float) -> "ToolPose":
        """The same place at height ``z``."""
        return ToolPose(self.x, self.y, z, self.yaw)

    @classmethod
    def from_transform(cls, base_from_tcp: Transform) -> "ToolPose":
        """Nearest downward pose of any ``base_from_tcp``."""
        turn = base_from_tcp[:3, :3] @ TOP_DOWN.T
        x, y, z = (float(value) for value in base_from_tcp[:3, 3])
        return cls(x, y, z, float(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])))

    def distance(self, other: "ToolPose") -> float:
        """m, without the turn."""
        return float(np.hypot(np.hypot(self.x - other.x, self.y - other.y), self.z - other.z))


def tilt_from_vertical(base_from_tcp: Transform) -> float:
    """Angle between the tool's axis and straight down, rad."""
    return float(np.arccos(np.clip(-base_from_tcp[2, 2], -1.0, 1.0)))


@dataclass(frozen=True, slots=True)
class ToolState:
    """Position, velocity and acceleration of (x, y, z, yaw)."""

    position: tuple[float, ...]
    velocity: tuple[float, ...] = (0.0,) * DOFS
    acceleration: tuple[float, ...] = (0.0,) * DOFS

    @property
    def pose(self) -> ToolPose:
        """Where it is."""
        return ToolPose(*self.position)


def resting(pose: ToolPose) -> ToolState:
    """``pose`` at rest."""
    return ToolState((pose.x, pose.y, pose.z, pose.yaw))


@dataclass(frozen=True, slots=True)
class _Leg:
    begin_s: float
    goal: ToolPose
    trajectory: ruckig.Trajectory


@dataclass
class ToolPath:
    """Legs and waits, from ``start`` at time 0."""

    start: ToolState
    _legs: list[_Leg] = field(default_factory=list)
    duration_s: float = 0.0

    def move_to(self, goal: ToolPose, *, speed: float) -> None:
        """Append a leg that ends at rest at ``goal``; ``speed`` bounds the TCP, m/s."""
        begin = resting(self._legs[-1].goal) if self._legs else self.start
        trajectory = _solve(begin, goal, speed=speed)
        self._legs.append(_Leg(self.duration_s, goal, trajectory))
        self.duration_s += trajectory.duration

    def wait(self, duration_s: float) -> None:
        """Append a rest at the last goal."""
        self.duration_s += duration_s

    def continued(self, time_s: float, *, start: ToolState, goal: ToolPose) -> "ToolPath":
        """A path from ``start``, this one's state at ``time_s``, on the leg in progress then if that leads to ``goal``."""
        path = ToolPath(start)
        leg = self._leg_at(time_s)
        if leg is not None and leg.goal.distance(goal) < SAME_M and abs(leg.goal.yaw - goal.yaw) < SAME_RAD:
            path._legs.append(replace(leg, begin_s=leg.begin_s - time_s))
            path.duration_s = max(0.0, leg.begin_s - time_s + leg.trajectory.duration)
        return path

    @property
    def leads_somewhere(self) -> bool:
        """Whether there is any leg yet."""
        return bool(self._legs)

    def _leg_at(self, time_s: float) -> _Leg | None:
        return next((leg for leg in reversed(self._legs) if leg.begin_s <= time_s), None)

    def at(self, time_s: float) -> ToolState:
        """State at ``time_s`` after the start; rests at the end for ever after."""
        leg = self._leg_at(time_s)
        if leg is None:
            return self.start
        elapsed_s = time_s - leg.begin_s
        if elapsed_s >= leg.trajectory.duration:
            return resting(leg.goal)
        position, velocity, acceleration = leg.trajectory.at_time(elapsed_s)
        return ToolState(tuple(position), tuple(velocity), tuple(acceleration))


def _solve(begin: ToolState, goal: ToolPose, *, speed: float) -> ruckig.Trajectory:
    problem = ruckig.InputParameter(DOFS)
    problem.current_position = list(begin.position)
    problem.current_velocity = list(begin.velocity)
    problem.current_acceleration = list(begin.acceleration)
    problem.target_position = [goal.x, goal.y, goal.z, goal.yaw]
    shares = _shares(begin, goal)
    problem.max_velocity = [*(speed * share for share in shares), MAX_TURN]
    problem.max_acceleration = [*(MAX_ACCELERATION * share for share in shares), MAX_TURN_ACCELERATION]
    problem.max_jerk = [*(MAX_JERK * share for share in shares), MAX_TURN_JERK]
    trajectory = ruckig.Trajectory(DOFS)
    # Straight lines where possible; from some states in motion Ruckig finds no synchronised solution.
    for synchronization in (ruckig.Synchronization.Phase, ruckig.Synchronization.Time):
        problem.synchronization = synchronization
        try:
            ruckig.Ruckig(DOFS).calculate(problem, trajectory)
        except ruckig.RuckigError:
            continue
        return trajectory
    problem.synchronization = ruckig.Synchronization.No
    ruckig.Ruckig(DOFS).calculate(problem, trajectory)
    return trajectory


def _shares(begin: ToolState, goal: ToolPose) -> list[float]:
    """How much of a limit on the TCP each axis may use, so that a straight line keeps to it."""
    along = np.abs(np.subtract((goal.x, goal.y, goal.z), begin.position[:3]))
    length = float(np.linalg.norm(along))
    if length < 1e-6:
        return [1.0] * 3
    return [max(float(part) / length, SMALLEST_SHARE) for part in along]
