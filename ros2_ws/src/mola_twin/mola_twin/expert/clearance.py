"""Choosing how to reach for something so that fingers, palm and camera stay clear of everything else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mola_twin.cell import layout
from mola_twin.expert.tool_path import ToolPose
from mola_twin.tasks.placement import RADIUS
from mola_twin.tasks.truth import Truth

ENOUGH_M = 0.012
"""More room than this is not worth a turn of the wrist."""
TURN_COST = 0.0015
"""m of clearance given up for each rad less of turning."""
LEAN_COST = 0.02
"""m of clearance given up for each m further to the side that is leaned to."""

HEIGHTS = {
    "bowl": layout.BOWL_HEIGHT,
    "bottle": layout.BOTTLE_BODY + layout.NECK_LENGTH,
    **dict.fromkeys(layout.BLOCKS, 2 * layout.BLOCK_HALF),
    "mug": 0.075,
    "can": 0.10,
    "book": 0.02,
    "pear": 0.10,
}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A rounded rectangle on the table, ``height`` tall."""

    x: float
    y: float
    yaw: float
    half_x: float
    half_y: float
    radius: float
    height: float

    def distance(self, x: float, y: float) -> float:
        """From a point to the outline, m; negative inside the rounding."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        along_x = abs(cosine * (x - self.x) + sine * (y - self.y)) - self.half_x
        along_y = abs(-sine * (x - self.x) + cosine * (y - self.y)) - self.half_y
        outside = float(np.hypot(max(along_x, 0.0), max(along_y, 0.0)))
        return outside + min(max(along_x, along_y), 0.0) - self.radius


@dataclass(frozen=True, slots=True)
class _Part:
    """A disc of the gripper in the tool frame, at a height above the TCP."""

    x: float
    y: float
    radius: float
    height: float


PALM_PARTS = (
    _Part(0.045, 0.0, 0.022, 0.060),
    _Part(-0.045, 0.0, 0.022, 0.060),
    _Part(0.0, 0.0, 0.041, 0.080),
    _Part(0.0, 0.070, 0.034, 0.100),
)


@dataclass(frozen=True, slots=True)
class Grasp:
    """One way to take something: the tool's pose between the fingers and how far they open before."""

    pose: ToolPose
    opening: float


def obstacles(truth: Truth, *, ignore: Iterable[str]) -> list[Obstacle]:
    """Everything that stands on the table, except the things named in ``ignore``."""
    skip = set(ignore)
    found = []
    for name, item in truth.objects.items():
        if name in skip:
            continue
        x, y, z = (float(value) for value in item.position)
        if name in RADIUS:
            found.append(Obstacle(x, y, 0.0, 0.0, 0.0, RADIUS[name], max(z, 0.0) + HEIGHTS[name]))
        elif name == "bin":
            found.extend(_bin_walls(x, y, item.yaw))
        elif name == "cabinet":
            half_w, half_d, half_h = layout.CABINET_HALF
            found.append(Obstacle(x, y, item.yaw, half_w, half_d, 0.0, 2 * half_h))
        elif name == "button":
            half = layout.BUTTON_BASE_HALF
            found.append(Obstacle(x, y, item.yaw, half[0], half[1], 0.0, 0.055))
    return found


def _bin_walls(x: float, y: float, yaw: float) -> list[Obstacle]:
    half, offset = layout.BIN_HALF, layout.BIN_HALF - layout.BIN_WALL
    walls = []
    for along_x, along_y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        centre_x = x + offset * (np.cos(yaw) * along_x - np.sin(yaw) * along_y)
        centre_y = y + offset * (np.sin(yaw) * along_x + np.cos(yaw) * along_y)
        half_x, half_y = (layout.BIN_WALL, half) if along_x else (half, layout.BIN_WALL)
        walls.append(Obstacle(float(centre_x), float(centre_y), yaw, half_x, half_y, 0.0, layout.BIN_HEIGHT))
    return walls


def clearance(grasp: Grasp, things: Sequence[Obstacle]) -> float:
    """Smallest distance between the open gripper at ``grasp`` and ``things``, m."""
    reach = grasp.opening * layout.STROKE / 2 + 0.009
    fingers = (_Part(reach, 0.0, 0.013, 0.0), _Part(-reach, 0.0, 0.013, 0.0))
    rotation = grasp.pose.transform[:2, :2]
    smallest = np.inf
    for part in (*fingers, *PALM_PARTS):
        x, y = np.array([grasp.pose.x, grasp.pose.y]) + rotation @ np.array([part.x, part.y])
        bottom = grasp.pose.z + part.height
        for thing in things:
            if thing.height + 0.01 > bottom:
                smallest = min(smallest, thing.distance(float(x), float(y)) - part.radius)
    return float(smallest)


def choose(
    candidates: Sequence[Grasp],
    things: Sequence[Obstacle],
    *,
    places: Sequence[ToolPose] = (),
    lean: tuple[float, float] = (0.0, 0.0),
    turned: float = 0.0,
    enough_m: float = ENOUGH_M,
) -> Grasp:
    """The candidate with most room, at the grasp and (same turn) at each of ``places``; among those with ``enough_m`` of it, the one
    with the least turn from ``turned``, rad.

    ``lean`` is a direction in the base frame: of equals on two sides of a thing, the one further along it. Without it something
    nobody can see decides between them, and who imitates learns to waver.
    """

    def score(grasp: Grasp) -> float:
        room = clearance(grasp, things)
        for place in places:
            there = ToolPose(place.x, place.y, place.z, grasp.pose.yaw)
            room = min(room, clearance(Grasp(there, grasp.opening), things))
        along = lean[0] * grasp.pose.x + lean[1] * grasp.pose.y
        return min(room, enough_m) - TURN_COST * abs(grasp.pose.yaw - turned) + LEAN_COST * along

    return max(candidates, key=score)


def wrap_quarter(yaw: float) -> float:
    """The equivalent turn of a two-fingered tool in (-pi/2, pi/2]."""
    return float(np.pi / 2 - (np.pi / 2 - yaw) % np.pi)
