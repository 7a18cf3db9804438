"""Forward and inverse kinematics of the UR5e, from the published Denavit-Hartenberg parameters.

Everything is in UR's ``base`` frame: metres and radians, joints in UR's order. The scalar functions work on plain
floats because numpy's overhead on 4x4 matrices is ten times the arithmetic, and they run inside the 500 Hz tick.
Parameters: Universal Robots, "DH parameters for calculations of kinematics and dynamics", UR5e.
"""

from collections.abc import Sequence
from math import acos, asin, atan2, cos, hypot, pi, sin, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mola_core.contracts.errors import UnreachablePoseError
from mola_core.contracts.geometry import Transform, rotation_from_rotvec
from mola_core.contracts.types import Joints

D1, D4, D5, D6 = 0.1625, 0.1333, 0.0997, 0.0996
A2, A3 = -0.425, -0.3922
MAX_REACH = -A2 - A3 + hypot(D4, D5) + D6
"""No flange pose is further than this from the shoulder, m."""

_TWO_PI = 2.0 * pi
_SINGULAR_SINE = 1e-7
_REACH_TOLERANCE = 1e-9
"""How far a cosine may leave [-1, 1] and still count as fully stretched rather than unreachable."""

Vector = tuple[float, float, float]


class ArmFrames(NamedTuple):
    """Points along the arm and the axes of the flange, all in ``base``, for one joint configuration."""

    shoulder: Vector
    """Where the axes of joints 1 and 2 meet."""
    elbow: Vector
    """On the axis of joint 3, in the plane of the shoulder."""
    wrist: Vector
    """End of the forearm, in the plane of the shoulder."""
    wrist_1: Vector
    """Origin of link 4, d4 beside the forearm: joints 4 and 5 meet here."""
    wrist_2: Vector
    """Origin of link 5: joints 5 and 6 meet here."""
    flange: Vector
    sideways: Vector
    """Unit axis of joints 2, 3 and 4."""
    x: Vector
    y: Vector
    z: Vector
    """Axes of the flange."""


def arm_frames(joint_positions: Sequence[float]) -> ArmFrames:
    """All frames of the arm at ``joint_positions`` (six plain floats, rad)."""
    q1, q2, q3, q4, q5, q6 = joint_positions
    c1, s1 = cos(q1), sin(q1)
    q23 = q2 + q3
    q234 = q23 + q4
    c234, s234 = cos(q234), sin(q234)
    c5, s5, c6, s6 = cos(q5), sin(q5), cos(q6), sin(q6)
    # The shoulder's plane is spanned by (c1, s1, 0) and the vertical; (s1, -c1, 0) is its normal.
    reach_2, height_2 = A2 * cos(q2), D1 + A2 * sin(q2)
    reach_3, height_3 = reach_2 + A3 * cos(q23), height_2 + A3 * sin(q23)
    wrist_x, wrist_y = c1 * reach_3, s1 * reach_3
    side_x, side_y = wrist_x + D4 * s1, wrist_y - D4 * c1
    z4x, z4y, z4z = s234 * c1, s234 * s1, -c234
    x4x, x4y, x4z = c234 * c1, c234 * s1, s234
    w2x, w2y, w2z = side_x + D5 * z4x, side_y + D5 * z4y, height_3 + D5 * z4z
    x5x, x5y, x5z = c5 * x4x + s5 * s1, c5 * x4y - s5 * c1, c5 * x4z
    zx, zy, zz = -s5 * x4x + c5 * s1, -s5 * x4y - c5 * c1, -s5 * x4z
    return ArmFrames(
        (0.0, 0.0, D1),
        (c1 * reach_2, s1 * reach_2, height_2),
        (wrist_x, wrist_y, height_3),
        (side_x, side_y, height_3),
        (w2x, w2y, w2z),
        (w2x + D6 * zx, w2y + D6 * zy, w2z + D6 * zz),
        (s1, -c1, 0.0),
        (c6 * x5x - s6 * z4x, c6 * x5y - s6 * z4y, c6 * x5z - s6 * z4z),
        (-s6 * x5x - c6 * z4x, -s6 * x5y - c6 * z4y, -s6 * x5z - c6 * z4z),
        (zx, zy, zz),
    )


def forward_kinematics(
    joint_positions: Joints | Sequence[float], tcp_offset: Sequence[float] | None = None
) -> Transform:
    """``base_from_flange``; ``base_from_tcp`` where ``tcp_offset`` (pose of the TCP in the flange frame) is given."""
    frames = arm_frames(_floats(joint_positions))
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = frames.x, frames.y, frames.z
    px, py, pz = frames.flange
    base_from_flange = np.array(
        [[xx, yx, zx, px], [xy, yy, zy, py], [xz, yz, zz, pz], [0.0, 0.0, 0.0, 1.0]], dtype=np.float64
    )
    if tcp_offset is None:
        return base_from_flange
    base_from_tcp: Transform = base_from_flange @ flange_from_tcp(tcp_offset)
    return base_from_tcp


def flange_from_tcp(tcp_offset: Sequence[float]) -> Transform:
    """4x4 matrix of a site's ``tcp_offset``."""
    transform = np.eye(4)
    transform[:3, :3] = rotation_from_rotvec(np.asarray(tcp_offset[3:], dtype=np.float64))
    transform[:3, 3] = tcp_offset[:3]
    return transform


def jacobian(
    joint_positions: Joints | Sequence[float], tcp_offset: Sequence[float] | None = None
) -> Float[np.ndarray, "6 6"]:
    """Geometric Jacobian in ``base``: rows are linear (m/s) then angular (rad/s) velocity of flange or TCP."""
    q = _floats(joint_positions)
    frames = arm_frames(q)
    point = forward_kinematics(q, tcp_offset)[:3, 3]
    side = np.array(frames.sideways)
    # Joint 5 turns about the axis of link 4, which points from wrist_1 to wrist_2; joint 6 about the flange's z.
    forearm_axis = (np.array(frames.wrist_2) - np.array(frames.wrist_1)) / D5
    axes = (np.array([0.0, 0.0, 1.0]), side, side, side, forearm_axis, np.array(frames.z))
    origins = (frames.shoulder, frames.shoulder, frames.elbow, frames.wrist, frames.wrist_1, frames.wrist_2)
    columns = [
        np.concatenate([np.cross(axis, point - np.array(origin)), axis])
        for axis, origin in zip(axes, origins, strict=True)
    ]
    return np.stack(columns, axis=1)


def all_inverse_solutions(base_from_flange: Transform, *, wrist_3_at_singularity: float = 0.0) -> list[list[float]]:
    """Up to eight joint configurations that put the flange at ``base_from_flange``, each angle in (-pi, pi].

    Where joints 4 and 6 are parallel (sin q5 = 0) only their sum is determined; joint 6 is then set to
    ``wrist_3_at_singularity``. An empty list means out of reach.
    """
    (xx, yx, zx, px), (xy, yy, zy, py), (xz, yz, zz, pz) = (row for row in base_from_flange[:3].tolist())
    wrist_x, wrist_y, wrist_z = px - D6 * zx, py - D6 * zy, pz - D6 * zz
    solutions: list[list[float]] = []
    for q1 in _shoulder_pan_angles(wrist_x, wrist_y):
        c1, s1 = cos(q1), sin(q1)
        # cos q5 is the flange's z axis along the shoulder's normal; sin q5 scales the other two axes along it.
        x_side, y_side = xx * s1 - xy * c1, yx * s1 - yy * c1
        c5, s5 = zx * s1 - zy * c1, hypot(x_side, y_side)
        for sign in (1.0, -1.0):
            q5 = atan2(sign * s5, c5)
            q6 = wrist_3_at_singularity if s5 < _SINGULAR_SINE else atan2(-sign * y_side, sign * x_side)
            c6, s6 = cos(q6), sin(q6)
            z4x, z4y, z4z = -(s6 * xx + c6 * yx), -(s6 * xy + c6 * yy), -(s6 * xz + c6 * yz)
            q234 = atan2(z4x * c1 + z4y * s1, -z4z)
            reach = (wrist_x - D5 * z4x) * c1 + (wrist_y - D5 * z4y) * s1
            height = wrist_z - D5 * z4z - D1
            for q2, q3 in _two_link_angles(reach, height):
                solutions.append([_wrapped(q) for q in (q1, q2, q3, q234 - q2 - q3, q5, q6)])
    return solutions


def inverse_kinematics(
    base_from_flange: Transform,
    *,
    near: Joints | Sequence[float],
    position_min: Sequence[float],
    position_max: Sequence[float],
) -> Joints:
    """The joint configuration within the limits that is closest to ``near``, full turns considered.

    Raises:
        UnreachablePoseError: no configuration within the limits puts the flange there.
    """
    seed = _floats(near)
    best: list[float] | None = None
    best_distance = float("inf")
    solutions = all_inverse_solutions(base_from_flange, wrist_3_at_singularity=seed[5])
    for solution in solutions:
        turned = [
            _closest_turn(angle, centre, low, high)
            for angle, centre, low, high in zip(solution, seed, position_min, position_max, strict=True)
        ]
        candidate = [angle for angle in turned if angle is not None]
        if len(candidate) < len(turned):
            continue
        distance = sum((angle - centre) ** 2 for angle, centre in zip(candidate, seed, strict=True))
        if distance < best_distance:
            best, best_distance = candidate, distance
    if best is None:
        where = ", ".join(f"{value:.3f}" for value in base_from_flange[:3, 3].tolist())
        why = "is out of the arm's reach" if not solutions else "needs joints outside position_min..position_max"
        raise UnreachablePoseError(f"flange position ({where}) m in base {why}; move the target or the limits")
    return np.array(best)


def _floats(joint_positions: Joints | Sequence[float]) -> list[float]:
    return joint_positions.tolist() if isinstance(joint_positions, np.ndarray) else list(joint_positions)


def _shoulder_pan_angles(x: float, y: float) -> tuple[float, ...]:
    """Angles at which the wrist's centre lies d4 beside the shoulder's plane."""
    radius = hypot(x, y)
    if radius < D4 * (1.0 - _REACH_TOLERANCE):
        return ()
    direction = atan2(y, x)
    offset = asin(min(1.0, D4 / radius))
    return direction + offset, direction + pi - offset


def _two_link_angles(reach: float, height: float) -> tuple[tuple[float, float], ...]:
    """(q2, q3) with the elbow on either side; empty when too far or too near."""
    c3 = (reach * reach + height * height - A2 * A2 - A3 * A3) / (2.0 * A2 * A3)
    if abs(c3) > 1.0 + _REACH_TOLERANCE:
        return ()
    c3 = max(-1.0, min(1.0, c3))
    s3 = sqrt(1.0 - c3 * c3)
    direction = atan2(height, reach)
    bend = atan2(A3 * s3, A2 + A3 * c3)
    q3 = acos(c3)
    return (direction - bend, q3), (direction + bend, -q3)


def _wrapped(angle: float) -> float:
    """The same angle in (-pi, pi]."""
    wrapped = angle % _TWO_PI
    return wrapped - _TWO_PI if wrapped > pi else wrapped


def _closest_turn(angle: float, centre: float, low: float, high: float) -> float | None:
    """``angle`` plus the number of full turns that brings it closest to ``centre`` within [low, high]."""
    nearest = angle + _TWO_PI * round((centre - angle) / _TWO_PI)
    candidates = [turn for turn in (nearest, nearest - _TWO_PI, nearest + _TWO_PI) if low <= turn <= high]
    return min(candidates, key=lambda turn: abs(turn - centre)) if candidates else None
