"""Poses of the tool, as the controller reports and accepts them: six floats, m and rotation vector in rad, in ``base``.

Plain floats on top of :mod:`mola_core.control.kinematics`, because they are computed in the 500 Hz tick.
"""

from collections.abc import Sequence
from math import atan2, sqrt

import numpy as np

from mola_core.contracts.geometry import inverse_transform, transform_from_pose
from mola_core.control.kinematics import D5, ArmFrames, Vector, arm_frames, inverse_kinematics

POSITION_LIMITS = ([-6.2831853] * 6, [6.2831853] * 6)
"""rad: a UR5e's joints turn 360 degrees to either side."""


class Tool:
    """TCP offset in the flange frame."""

    def __init__(self, offset: Sequence[float]) -> None:
        self.offset = [float(value) for value in offset]
        self.flange_from_tcp = transform_from_pose(np.array(self.offset))
        self._tcp_from_flange = inverse_transform(self.flange_from_tcp)
        self._rows = [tuple(row) for row in self.flange_from_tcp[:3].tolist()]

    def pose(self, joint_positions: Sequence[float]) -> list[float]:
        """``base_from_tcp``."""
        return self.pose_of(arm_frames(joint_positions))

    def pose_of(self, frames: ArmFrames) -> list[float]:
        """``base_from_tcp`` of frames already computed."""
        (rxx, rxy, rxz, tx), (ryx, ryy, ryz, ty), (rzx, rzy, rzz, tz) = self._rows
        x = _combine(frames, rxx, ryx, rzx)
        y = _combine(frames, rxy, ryy, rzy)
        z = _combine(frames, rxz, ryz, rzz)
        position = _add(frames.flange, _combine(frames, tx, ty, tz))
        return [*position, *_rotvec(x, y, z)]

    def speed(self, frames: ArmFrames, joint_velocities: Sequence[float]) -> list[float]:
        """Linear (m/s) and angular (rad/s) velocity of the TCP."""
        tcp = _add(frames.flange, _combine(frames, self._rows[0][3], self._rows[1][3], self._rows[2][3]))
        linear = angular = (0.0, 0.0, 0.0)
        for (axis, origin), rate in zip(_axes(frames), joint_velocities, strict=True):
            turn = (axis[0] * rate, axis[1] * rate, axis[2] * rate)
            arm = (tcp[0] - origin[0], tcp[1] - origin[1], tcp[2] - origin[2])
            linear = _add(linear, _cross(turn, arm))
            angular = _add(angular, turn)
        return [*linear, *angular]

    def solve(self, base_from_tcp: Sequence[float], *, near: Sequence[float]) -> list[float]:
        """Joint positions that put the TCP at a pose; raises ``UnreachablePoseError``."""
        return self.solve_transform(transform_from_pose(np.array(base_from_tcp, dtype=float)), near=near)

    def solve_transform(self, base_from_tcp: np.ndarray, *, near: Sequence[float]) -> list[float]:
        """The same for a 4x4 matrix."""
        low, high = POSITION_LIMITS
        base_from_flange = base_from_tcp @ self._tcp_from_flange
        solution: list[float] = inverse_kinematics(
            base_from_flange, near=near, position_min=low, position_max=high
        ).tolist()
        return solution


def _axes(frames: ArmFrames) -> tuple[tuple[Vector, Vector], ...]:
    """Axis and a point on it, joint by joint."""
    inner, outer = frames.wrist_1, frames.wrist_2
    wrist_axis = ((outer[0] - inner[0]) / D5, (outer[1] - inner[1]) / D5, (outer[2] - inner[2]) / D5)
    return (
        ((0.0, 0.0, 1.0), frames.shoulder),
        (frames.sideways, frames.shoulder),
        (frames.sideways, frames.elbow),
        (frames.sideways, frames.wrist),
        (wrist_axis, frames.wrist_1),
        (frames.z, frames.wrist_2),
    )


def _combine(frames: ArmFrames, a: float, b: float, c: float) -> Vector:
    x, y, z = frames.x, frames.y, frames.z
    return (a * x[0] + b * y[0] + c * z[0], a * x[1] + b * y[1] + c * z[1], a * x[2] + b * y[2] + c * z[2])


def _add(a: Vector, b: Vector) -> Vector:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _rotvec(x: Vector, y: Vector, z: Vector) -> Vector:
    """Rotation vector of the matrix with these columns, through its quaternion (Shepperd), stable near pi."""
    trace = x[0] + y[1] + z[2]
    largest = max(trace, x[0], y[1], z[2])
    if largest == trace:
        w = 1.0 + trace
        i, j, k = y[2] - z[1], z[0] - x[2], x[1] - y[0]
    elif largest == x[0]:
        i = 1.0 + 2.0 * x[0] - trace
        j, k, w = x[1] + y[0], x[2] + z[0], y[2] - z[1]
    elif largest == y[1]:
        j = 1.0 + 2.0 * y[1] - trace
        i, k, w = x[1] + y[0], y[2] + z[1], z[0] - x[2]
    else:
        k = 1.0 + 2.0 * z[2] - trace
        i, j, w = x[2] + z[0], y[2] + z[1], x[1] - y[0]
    if w < 0.0:
        i, j, k, w = -i, -j, -k, -w
    sine = sqrt(i * i + j * j + k * k)
    if sine < 1e-12 * w:
        return (0.0, 0.0, 0.0)
    scale = 2.0 * atan2(sine, w) / sine
    return (scale * i, scale * j, scale * k)
