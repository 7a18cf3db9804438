"""Where things stand at the start: drawn without overlaps, all within a comfortable reach of the arm."""

from dataclasses import dataclass, replace

import numpy as np

from mola_twin.cell.layout import BLOCKS, BOWL_RADIUS, DISTRACTORS, FURNITURE

__all__ = ["BLOCKS", "Placement", "PlanarPose", "sample_placement", "with_distractors"]


@dataclass(frozen=True, slots=True)
class PlanarPose:
    """A place on the table: m, and a turn about the vertical in rad, in the base frame."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each object, each piece of furniture and each distractor stands."""

    poses: dict[str, PlanarPose]
    distractors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Zone:
    """A rectangle of the table with the range of turns allowed in it."""

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float] = (0.0, 0.0)

    def sample(self, rng: np.random.Generator) -> PlanarPose:
        """A uniform draw."""
        return PlanarPose(*(float(rng.uniform(*span)) for span in (self.x, self.y, self.yaw)))


FURNITURE_ZONES = {
    "bin": Zone(x=(-0.52, -0.38), y=(-0.35, -0.30), yaw=(-0.2, 0.2)),
    "cabinet": Zone(x=(-0.42, -0.34), y=(0.33, 0.36), yaw=(-0.12, 0.12)),
    "button": Zone(x=(-0.66, -0.60), y=(0.12, 0.24), yaw=(-0.4, 0.4)),
}
OBJECT_ZONE = Zone(x=(-0.64, -0.30), y=(-0.18, 0.12), yaw=(-np.pi, np.pi))
DISTRACTOR_ZONE = Zone(x=(-0.68, -0.24), y=(-0.22, 0.40), yaw=(-np.pi, np.pi))

RADIUS = {
    "bowl": BOWL_RADIUS,
    "bottle": 0.030,
    **dict.fromkeys(BLOCKS, 0.034),
    "mug": 0.045,
    "can": 0.030,
    "book": 0.068,
    "pear": 0.033,
}
FINGER_ROOM = 0.022
"""Half the smallest gap between two things, so that a finger fits between them."""
TALL_ROOM = 0.030
"""More around the bottle and the tall distractors, for the palm and the camera of the gripper that works beside them."""
TALL = ("bottle", "can", "mug")
ORDER = ("bowl", "bottle", *BLOCKS)
ATTEMPTS = 200


def sample_placement(rng: np.random.Generator) -> Placement:
    """Draw furniture, then objects by rejection, starting over when one finds no room."""
    while True:
        poses = {name: FURNITURE_ZONES[name].sample(rng) for name in FURNITURE}
        if all(_place(poses, name=name, zone=OBJECT_ZONE, rng=rng) for name in ORDER):
            return Placement(poses)


def with_distractors(placement: Placement, *, rng: np.random.Generator) -> Placement:
    """The same scene and as many distractors beside it as find room (at least two)."""
    while True:
        poses = dict(placement.poses)
        placed = tuple(name for name in DISTRACTORS if _place(poses, name=name, zone=DISTRACTOR_ZONE, rng=rng))
        if len(placed) >= 2:
            return replace(placement, poses=poses, distractors=placed)


def _place(poses: dict[str, PlanarPose], *, name: str, zone: Zone, rng: np.random.Generator) -> bool:
    """Add ``name`` to ``poses`` where it fits; False when no attempt found room."""
    for _ in range(ATTEMPTS):
        pose = zone.sample(rng)
        if all(_clear(pose, name, other, other_name) for other_name, other in poses.items()):
            poses[name] = pose
            return True
    return False


def _room(name: str) -> float:
    return RADIUS[name] + (TALL_ROOM if name in TALL else FINGER_ROOM)


def _clear(pose: PlanarPose, name: str, other: PlanarPose, other_name: str) -> bool:
    if other_name in FURNITURE:
        return _clear_of_furniture(pose, _room(name), other, other_name)
    return float(np.hypot(pose.x - other.x, pose.y - other.y)) > _room(name) + _room(other_name)


KEEP_OUT = {
    # half size along its own x, and from y to y along its own y: the cabinet's includes the open drawer and a hand
    "bin": (0.085, -0.085, 0.085),
    "cabinet": (0.105, -0.265, 0.075),
    "button": (0.045, -0.045, 0.045),
}


def _clear_of_furniture(pose: PlanarPose, room: float, other: PlanarPose, other_name: str) -> bool:
    half_x, low_y, high_y = KEEP_OUT[other_name]
    cosine, sine = np.cos(other.yaw), np.sin(other.yaw)
    dx, dy = pose.x - other.x, pose.y - other.y
    along_x, along_y = cosine * dx + sine * dy, -sine * dx + cosine * dy
    outside_x = max(abs(along_x) - half_x, 0.0)
    outside_y = max(low_y - along_y, along_y - high_y, 0.0)
    return float(np.hypot(outside_x, outside_y)) > room
