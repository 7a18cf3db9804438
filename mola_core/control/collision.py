"""How far the arm, its gripper and its camera are from the table, from themselves, and from the edge of the workspace.

Links are capsules (a segment with a radius) that enclose the UR5e's published outlines. Margins are what is left beyond the
clearances that the site asks for; negative means too close. Scalar code: it runs many times within a 500 Hz tick.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import dist, sqrt
from typing import NamedTuple

import numpy as np

from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.site import Site
from mola_core.control.kinematics import D1, ArmFrames, Vector, arm_frames, flange_from_tcp

UPPER_ARM_OFFSET, FOREARM_OFFSET = 0.138, 0.007
"""How far the tubes lie beside the shoulder's plane, m."""
BASE_RADIUS, UPPER_ARM_RADIUS, FOREARM_RADIUS, WRIST_RADIUS = 0.075, 0.065, 0.055, 0.047
PALM_RADIUS, FINGER_RADIUS, CAMERA_RADIUS = 0.05, 0.012, 0.03
PALM_FRACTION = 0.6
"""The gripper's body ends this far along the way from flange to TCP; fingers follow."""
FINGER_SPREAD = 0.062
"""Outer half width across the open fingertips, m, along the flange's y axis and, to be safe with any mounting, its x."""


class Capsule(NamedTuple):
    """A segment with a radius, in the base frame, m."""

    start: Vector
    end: Vector
    radius: float


class Margins(NamedTuple):
    """What is left beyond the required clearances, m; negative is too close."""

    workspace: float
    """TCP to the faces of the box."""
    table: float
    """Lowest point of arm and tool to the table."""
    base: float
    """Forearm, wrist and tool to the base column."""
    upper_arm: float
    """Wrist and tool to the upper arm."""
    forearm: float
    """Last link and tool to the forearm."""


LEVERS = (
    # How far a point can move per radian of each joint, m: the reach beyond that joint, rounded up.
    (1.25, 1.25, 0.85, 0.46, 0.36, 0.0),
    (0.0, 1.25, 0.85, 0.46, 0.36, 0.24),
    (0.0, 1.25, 0.85, 0.46, 0.36, 0.24),
    (0.0, 0.0, 0.85, 0.46, 0.36, 0.24),
    (0.0, 0.0, 0.0, 0.46, 0.36, 0.24),
)
"""One row for each field of :class:`Margins`; joints before both bodies of a margin do not change it."""
_TOOL_REACH = 0.2
"""The reach of flange and tool that the levers above allow for, m; longer tools add to every lever."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What is mounted on the flange, in its frame, m."""

    tcp: Vector
    capsules: tuple[Capsule, ...]
    levers: tuple[tuple[float, ...], ...]


def tool_of(site: Site) -> Tool:
    """Gripper and wrist camera of ``site`` as capsules in the flange frame."""
    flange_from_tool = flange_from_tcp(site.arm.tcp_offset)
    tcp = _vector(flange_from_tool[:3, 3])
    capsules: list[Capsule] = []
    length = dist(tcp, (0.0, 0.0, 0.0))
    if site.gripper.kind != "none" and length > 0.0:
        palm_end = _scaled(tcp, max(0.0, PALM_FRACTION * length - 0.5 * PALM_RADIUS) / length)
        capsules.append(Capsule((0.0, 0.0, 0.0), palm_end, PALM_RADIUS))
        tip = _scaled(tcp, max(0.0, length - FINGER_RADIUS) / length)
        for axis in (0, 1):
            across = flange_from_tool[:3, axis] * (FINGER_SPREAD - FINGER_RADIUS)
            capsules.append(Capsule(_vector(np.array(tip) - across), _vector(np.array(tip) + across), FINGER_RADIUS))
    for camera in site.cameras.values():
        if camera.tcp_from_camera is not None:
            where = _vector((flange_from_tool @ transform_from_pose(np.array(camera.tcp_from_camera)))[:3, 3])
            capsules.append(Capsule(where, where, CAMERA_RADIUS))
    points = [tcp, *(point for capsule in capsules for point in capsule[:2])]
    longer = max(0.0, max(dist(point, (0.0, 0.0, 0.0)) for point in points) - _TOOL_REACH)
    levers = tuple(tuple(lever + longer if lever > 0.0 else 0.0 for lever in row) for row in LEVERS)
    sideways = sqrt(tcp[0] ** 2 + tcp[1] ** 2)
    workspace = (*levers[0][:5], sideways)  # turning the flange moves only a TCP that lies off its axis
    return Tool(tcp, tuple(capsules), (workspace, *levers[1:]))


class CollisionModel:
    """Margins of one joint configuration, and a bound on how fast they can change."""

    def __init__(self, site: Site) -> None:
        self._tool = tool_of(site)
        self._low, self._high = site.workspace.tcp_min, site.workspace.tcp_max
        self._floor = site.workspace.table_z + site.workspace.table_clearance
        self._clearance = site.workspace.self_clearance
        self.levers = self._tool.levers

    def margins(self, joint_positions: Sequence[float]) -> Margins:
        """All margins at ``joint_positions`` (plain floats, rad)."""
        frames = arm_frames(joint_positions)
        return Margins(*self._workspace_and_table(frames), *self._self_margins(frames))

    def outer_margins(self, joint_positions: Sequence[float]) -> tuple[float, float]:
        """Workspace and table margin alone, at a fifth of the cost."""
        return self._workspace_and_table(arm_frames(joint_positions))

    def self_margins(self, joint_positions: Sequence[float]) -> tuple[float, float, float]:
        """Margins between parts of the arm alone."""
        return self._self_margins(arm_frames(joint_positions))

    def tcp_position(self, joint_positions: Sequence[float]) -> Vector:
        """Where the TCP is, m."""
        return _placed(self._tool.tcp, arm_frames(joint_positions))

    def capsules(self, joint_positions: Sequence[float]) -> dict[str, Capsule]:
        """Every capsule by name, for drawing and for tests."""
        frames = arm_frames(joint_positions)
        links = _link_capsules(frames)
        names = ("base", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3")
        tools = {f"tool_{k}": capsule for k, capsule in enumerate(self._tool_capsules(frames))}
        return dict(zip(names, links, strict=True)) | tools

    def _workspace_and_table(self, frames: ArmFrames) -> tuple[float, float]:
        x, y, z = _placed(self._tool.tcp, frames)
        (low_x, low_y, low_z), (high_x, high_y, high_z) = self._low, self._high
        workspace = min(x - low_x, high_x - x, y - low_y, high_y - y, z - low_z, high_z - z)
        lowest = min(
            frames.elbow[2] - UPPER_ARM_RADIUS,
            frames.wrist[2] - FOREARM_RADIUS,
            frames.wrist_2[2] - WRIST_RADIUS,
            frames.flange[2] - WRIST_RADIUS,
        )
        flange_z, xz, yz, zz = frames.flange[2], frames.x[2], frames.y[2], frames.z[2]
        for start, end, radius in self._tool.capsules:
            first = flange_z + xz * start[0] + yz * start[1] + zz * start[2]
            second = flange_z + xz * end[0] + yz * end[1] + zz * end[2]
            lowest = min(lowest, first - radius, second - radius)
        return workspace, lowest - self._floor

    def _self_margins(self, frames: ArmFrames) -> tuple[float, float, float]:
        base, upper_arm, forearm, wrist_1, wrist_2, wrist_3 = _link_capsules(frames)
        to_base = min(
            capsule_distance(base, forearm),
            capsule_distance(base, wrist_1),
            capsule_distance(base, wrist_2),
            capsule_distance(base, wrist_3),
        )
        to_upper_arm = min(
            capsule_distance(upper_arm, wrist_1),
            capsule_distance(upper_arm, wrist_2),
            capsule_distance(upper_arm, wrist_3),
        )
        to_forearm = capsule_distance(forearm, wrist_3)
        for tool in self._tool_capsules(frames):
            to_base = min(to_base, capsule_distance(base, tool))
            to_upper_arm = min(to_upper_arm, capsule_distance(upper_arm, tool))
            to_forearm = min(to_forearm, capsule_distance(forearm, tool))
        clearance = self._clearance
        return to_base - clearance, to_upper_arm - clearance, to_forearm - clearance

    def _tool_capsules(self, frames: ArmFrames) -> list[Capsule]:
        return [
            Capsule(_placed(start, frames), _placed(end, frames), radius) for start, end, radius in self._tool.capsules
        ]


def _link_capsules(frames: ArmFrames) -> tuple[Capsule, Capsule, Capsule, Capsule, Capsule, Capsule]:
    side_x, side_y, _ = frames.sideways
    return (
        Capsule((0.0, 0.0, 0.0), (0.0, 0.0, D1), BASE_RADIUS),
        Capsule(
            _beside(frames.shoulder, side_x, side_y, UPPER_ARM_OFFSET),
            _beside(frames.elbow, side_x, side_y, UPPER_ARM_OFFSET),
            UPPER_ARM_RADIUS,
        ),
        Capsule(
            _beside(frames.elbow, side_x, side_y, FOREARM_OFFSET),
            _beside(frames.wrist, side_x, side_y, FOREARM_OFFSET),
            FOREARM_RADIUS,
        ),
        Capsule(frames.wrist, frames.wrist_1, WRIST_RADIUS),
        Capsule(frames.wrist_1, frames.wrist_2, WRIST_RADIUS),
        Capsule(frames.wrist_2, frames.flange, WRIST_RADIUS),
    )


def capsule_distance(a: Capsule, b: Capsule) -> float:
    """Distance between the surfaces of two capsules, m; negative where they overlap.

    Closest points of two segments, after Ericson, Real-Time Collision Detection, section 5.1.9.
    """
    (ax, ay, az), (aex, aey, aez), a_radius = a
    (bx, by, bz), (bex, bey, bez), b_radius = b
    ux, uy, uz = aex - ax, aey - ay, aez - az
    vx, vy, vz = bex - bx, bey - by, bez - bz
    wx, wy, wz = ax - bx, ay - by, az - bz
    uu = ux * ux + uy * uy + uz * uz
    vv = vx * vx + vy * vy + vz * vz
    uv = ux * vx + uy * vy + uz * vz
    uw = ux * wx + uy * wy + uz * wz
    vw = vx * wx + vy * wy + vz * wz
    denominator = uu * vv - uv * uv
    s = _unit((uv * vw - uw * vv) / denominator) if denominator > 1e-12 else 0.0
    t = (uv * s + vw) / vv if vv > 1e-12 else 0.0
    if t < 0.0 or t > 1.0 or denominator <= 1e-12:
        t = _unit(t)
        s = _unit((uv * t - uw) / uu) if uu > 1e-12 else 0.0
    dx, dy, dz = wx + s * ux - t * vx, wy + s * uy - t * vy, wz + s * uz - t * vz
    return sqrt(dx * dx + dy * dy + dz * dz) - a_radius - b_radius


def _unit(value: float) -> float:
    return 0.0 if value < 0.0 else min(value, 1.0)


def _beside(point: Vector, side_x: float, side_y: float, offset: float) -> Vector:
    return point[0] + offset * side_x, point[1] + offset * side_y, point[2]


def _placed(point: Vector, frames: ArmFrames) -> Vector:
    """``point`` of the flange frame, in base."""
    px, py, pz = point
    (ox, oy, oz), (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = frames.flange, frames.x, frames.y, frames.z
    return (
        ox + px * xx + py * yx + pz * zx,
        oy + px * xy + py * yy + pz * zy,
        oz + px * xz + py * yz + pz * zz,
    )


def _scaled(vector: Vector, factor: float) -> Vector:
    return vector[0] * factor, vector[1] * factor, vector[2] * factor


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
