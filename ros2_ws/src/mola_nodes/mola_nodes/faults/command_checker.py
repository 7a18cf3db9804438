"""Judges a record of commanded joint positions against a site, by arithmetic of its own.

Nothing is shared with the safety filter: derivatives are finite differences of what was sent, kinematics are the DH
matrices multiplied out, bodies are rows of points with radii. So a mistake in the filter does not hide itself here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.site import Site
from mola_core.contracts.types import JOINT_NAMES

_DH = (
    (0.1625, 0.0, np.pi / 2),
    (0.0, -0.425, 0.0),
    (0.0, -0.3922, 0.0),
    (0.1333, 0.0, np.pi / 2),
    (0.0997, 0.0, -np.pi / 2),
    (0.0996, 0.0, 0.0),
)
"""d, a, alpha of the UR5e's joints."""
_RELATIVE, _ABSOLUTE_M = 1e-6, 1e-9
_ROUNDING_RAD = 4e-12
"""Rounding of four positions of a few radians."""
_BASE_RADIUS, _WRIST_RADIUS, _PALM_RADIUS = 0.07, 0.045, 0.045
"""Slightly thinner than what the filter assumes, or points between its samples would be false alarms."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One command outside one limit."""

    row: int
    what: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"row {self.row}: {self.what} {self.value:.6g} beyond {self.limit:.6g}"


def check_commands(positions: Float[np.ndarray, "rows 6"], *, site: Site, period_s: float = 0.002) -> list[Violation]:
    """The worst violation of every limit in ``positions``, consecutive commands ``period_s`` apart; empty is good."""
    arm = site.arm
    if not np.isfinite(positions).all():
        row = int(np.argwhere(~np.isfinite(positions))[0][0])
        return [Violation(row, "a command is not a number", float("nan"), 0.0)]
    found = [
        *_beyond("position below minimum", np.array(arm.position_min) - positions, np.zeros(6)),
        *_beyond("position above maximum", positions - np.array(arm.position_max), np.zeros(6)),
    ]
    bounds = (("velocity", arm.velocity_max), ("acceleration", arm.acceleration_max), ("jerk", arm.jerk_max))
    for order, (name, bound) in enumerate(bounds, start=1):
        slack = _ROUNDING_RAD / period_s**order
        limit = np.array(bound) * (1.0 + _RELATIVE) + slack
        if len(positions) > order:
            found += _beyond(name, np.abs(np.diff(positions, n=order, axis=0)) / period_s**order, limit)
    return found + _space_violations(positions, site)


def _beyond(name: str, values: Float[np.ndarray, "rows 6"], limit: Float[np.ndarray, "6"]) -> list[Violation]:
    excess = values - limit
    row, joint = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if excess[row, joint] <= 0.0:
        return []
    return [Violation(int(row), f"{name} of {JOINT_NAMES[joint]}", float(values[row, joint]), float(limit[joint]))]


def _space_violations(positions: Float[np.ndarray, "rows 6"], site: Site) -> list[Violation]:
    frames = link_frames(positions)
    workspace, found = site.workspace, []
    base_from_tcp = frames[6] @ transform_from_pose(np.array(site.arm.tcp_offset))
    tcp = base_from_tcp[:, :3, 3]
    for axis, name in enumerate("xyz"):
        found += _below(f"TCP {name}", tcp[:, axis], workspace.tcp_min[axis])
        found += _below(f"TCP -{name}", -tcp[:, axis], -workspace.tcp_max[axis])
    floor = workspace.table_z + workspace.table_clearance
    flange, wrist_2 = frames[6][:, :3, 3], frames[5][:, :3, 3]
    palm = 0.5 * (flange + tcp)
    for name, points, radius in (
        ("elbow", frames[2][:, :3, 3], _WRIST_RADIUS),
        ("wrist 2", wrist_2, _WRIST_RADIUS),
        ("flange", flange, _WRIST_RADIUS),
        ("TCP", tcp, 0.0),
    ):
        found += _below(f"height of the {name}", points[:, 2] - radius, floor)
    for name, points, radius in (("wrist 2", wrist_2, _WRIST_RADIUS), ("palm", palm, _PALM_RADIUS), ("TCP", tcp, 0.0)):
        gap = _distance_to_column(points) - _BASE_RADIUS - radius
        found += _below(f"distance of the {name} to the base", gap, workspace.self_clearance)
    return found


def _below(name: str, values: Float[np.ndarray, "rows"], limit: float) -> list[Violation]:
    row = int(np.argmin(values))
    return [Violation(row, name, float(values[row]), limit)] if values[row] < limit - _ABSOLUTE_M else []


def _distance_to_column(points: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, "rows"]:
    """From the axis of the base, a vertical segment from the table to the shoulder."""
    above = np.maximum(points[:, 2] - _DH[0][0], 0.0)
    return np.sqrt(points[:, 0] ** 2 + points[:, 1] ** 2 + above**2)


def link_frames(positions: Float[np.ndarray, "rows 6"]) -> Float[np.ndarray, "7 rows 4 4"]:
    """``base_from_link`` of the base and the six links, from the DH matrices."""
    frames = [np.tile(np.eye(4), (len(positions), 1, 1))]
    for joint, (d, a, alpha) in enumerate(_DH):
        c, s = np.cos(positions[:, joint]), np.sin(positions[:, joint])
        ca, sa = np.cos(alpha), np.sin(alpha)
        link = np.zeros((len(positions), 4, 4))
        link[:, 0] = np.stack([c, -s * ca, s * sa, a * c], axis=1)
        link[:, 1] = np.stack([s, c * ca, -c * sa, a * s], axis=1)
        link[:, 2] = [0.0, sa, ca, d]
        link[:, 3, 3] = 1.0
        frames.append(frames[-1] @ link)
    return np.stack(frames)
