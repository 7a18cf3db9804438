"""Motions of the tool along straight lines: ``movel``, ``speedl``, ``stopl``."""

from collections.abc import Sequence

import numpy as np

from mola_core.contracts.errors import UnreachablePoseError
from mola_core.contracts.geometry import rotation_from_rotvec, rotvec_from_rotation, transform_from_pose
from mola_core.control.kinematics import forward_kinematics, jacobian
from mola_twin.controller.motions import AXES, MAX_VELOCITY, Ramp, Reference, stop_joints
from mola_twin.controller.poses import Tool

_CARTESIAN_SPEED_MAX = 3.0
"""m/s and rad/s; ur_rtde lets no more through (UR_TOOL_VELOCITY_MAX)."""


class MotionError(Exception):
    """The arm cannot follow the line from here; the real controller protective-stops."""


class MoveLine:
    """``movel``: the TCP on a straight line, turning at a constant rate, from rest to rest."""

    def __init__(self, *, tool: Tool, goal: Sequence[float], speed: float, acceleration: float) -> None:
        self.goal = [float(value) for value in goal]
        self.done = False
        self._tool = tool
        self._speed = min(speed, _CARTESIAN_SPEED_MAX)
        self._acceleration = acceleration
        self._braking = stop_joints(acceleration=10.0)
        self._ramp: Ramp | None = None

    def advance(self, reference: Reference, *, dt: float) -> None:
        if self._ramp is None:
            if any(reference.velocities):
                self._braking.advance(reference, dt=dt)
                return
            self._ramp = self._begin(reference)
        travelled = self._ramp.advance(dt)
        fraction = travelled / self._ramp.distance if self._ramp.distance > 0.0 else 1.0
        pose = self._start.copy()
        pose[:3, 3] += fraction * self._translation
        pose[:3, :3] = self._start[:3, :3] @ rotation_from_rotvec(fraction * self._turn)
        try:
            positions = self._tool.solve_transform(pose, near=reference.positions)
        except UnreachablePoseError as error:
            raise MotionError(f"movel: {error}") from error
        for joint in AXES:
            velocity = (positions[joint] - reference.positions[joint]) / dt
            if abs(velocity) > MAX_VELOCITY:
                raise MotionError(
                    f"movel: joint {joint} would need {velocity:.1f} rad/s; the line runs by a singularity"
                )
            reference.move(joint=joint, velocity=velocity, dt=dt)
        if self._ramp.done:
            reference.rest()
            self.done = True

    def _begin(self, reference: Reference) -> Ramp:
        self._start = forward_kinematics(reference.positions, self._tool.offset)
        goal = transform_from_pose(np.array(self.goal))
        self._translation = goal[:3, 3] - self._start[:3, 3]
        self._turn = rotvec_from_rotation(self._start[:3, :3].T @ goal[:3, :3])
        # one ramp for both: metres lead, and a turn on the spot takes as long as if a radian were a metre
        distance = max(float(np.linalg.norm(self._translation)), float(np.linalg.norm(self._turn)))
        return Ramp(distance=distance, speed=self._speed, acceleration=self._acceleration)


class SpeedLine:
    """``speedl``: ramp to a TCP velocity and keep it, for ever. ``stopl`` is the same with velocity zero, then done."""

    def __init__(self, *, tool: Tool, velocity: Sequence[float], acceleration: float, stop: bool = False) -> None:
        self.retarget(velocity=velocity, acceleration=acceleration)
        self.done = False
        self._tool = tool
        self._stop = stop
        self._now: np.ndarray | None = None

    def retarget(self, *, velocity: Sequence[float], acceleration: float) -> None:
        """Ramp to another velocity from the present one."""
        self.velocity = np.clip(np.array(velocity, dtype=float), -_CARTESIAN_SPEED_MAX, _CARTESIAN_SPEED_MAX)
        self.acceleration = max(abs(acceleration), 1e-3)

    def advance(self, reference: Reference, *, dt: float) -> None:
        matrix = jacobian(reference.positions, self._tool.offset)
        if self._now is None:
            self._now = matrix @ np.array(reference.velocities)
        change = self.velocity - self._now
        length = float(np.linalg.norm(change))
        step = self.acceleration * dt
        arrived = length <= step
        self._now = self.velocity.copy() if arrived else self._now + step / length * change
        # damped least squares: close to a singularity the TCP goes slower rather than the joints faster
        gram = matrix @ matrix.T + 1e-6 * np.eye(6)
        rates = matrix.T @ np.linalg.solve(gram, self._now)
        rates *= min(1.0, MAX_VELOCITY / max(float(np.abs(rates).max()), 1e-9))
        for joint, rate in enumerate(rates.tolist()):
            reference.move(joint=joint, velocity=rate, dt=dt)
        if self._stop and arrived:
            reference.rest()
            self.done = True


def stop_line(*, tool: Tool, acceleration: float) -> SpeedLine:
    """``stopl``: slow the TCP down along its line."""
    return SpeedLine(tool=tool, velocity=[0.0] * 6, acceleration=acceleration, stop=True)
