"""Short words for MjSpec's primitives, so that the model files read like parts lists."""

from collections.abc import Sequence

import mujoco
import numpy as np

from mola_core.contracts.geometry import quaternion_from_rotation, rotation_from_rotvec

Vector = Sequence[float] | np.ndarray
Paint = Sequence[float] | str
"""A fixed colour, or the name of one of the materials in :mod:`mola_twin.cell.paint`."""

# Who touches whom: a pair collides if one's type meets the other's affinity. Links of the arm never touch each other
# here (the servo path keeps them apart) nor does furniture touch furniture.
ROBOT = {"contype": 1, "conaffinity": 0}
MOVABLE = {"contype": 2, "conaffinity": 3}
FURNITURE = {"contype": 4, "conaffinity": 3}
VISUAL = {"contype": 0, "conaffinity": 0}

NO_TURN = (1.0, 0.0, 0.0, 0.0)


def quat(rotvec: Vector) -> list[float]:
    """MuJoCo's (w, x, y, z) of a rotation vector."""
    x, y, z, w = quaternion_from_rotation(rotation_from_rotvec(np.asarray(rotvec, dtype=float)))
    return [float(w), float(x), float(y), float(z)]


def _add(
    body: mujoco.MjsBody, kind: mujoco.mjtGeom, size: Vector, pos: Vector, paint: Paint, **settings: object
) -> None:
    settings = {"mass": 0.0, "quat": NO_TURN, **settings}
    look = {"material": paint} if isinstance(paint, str) else {"rgba": list(paint)}
    body.add_geom(type=kind, size=[*size, *[0.0] * (3 - len(size))], pos=list(pos), **look, **settings)


def box(body: mujoco.MjsBody, half: Vector, pos: Vector, paint: Paint, **settings: object) -> None:
    """Add a box of half sizes ``half``, m."""
    _add(body, mujoco.mjtGeom.mjGEOM_BOX, half, pos, paint, **settings)


def sphere(body: mujoco.MjsBody, radius: float, pos: Vector, paint: Paint, **settings: object) -> None:
    """Add a sphere."""
    _add(body, mujoco.mjtGeom.mjGEOM_SPHERE, (radius,), pos, paint, **settings)


def ellipsoid(body: mujoco.MjsBody, half: Vector, pos: Vector, paint: Paint, **settings: object) -> None:
    """Add an ellipsoid of semi-axes ``half``, m."""
    _add(body, mujoco.mjtGeom.mjGEOM_ELLIPSOID, half, pos, paint, **settings)


def cylinder(body: mujoco.MjsBody, radius: float, start: Vector, end: Vector, paint: Paint, **settings: object) -> None:
    """Add a cylinder from ``start`` to ``end`` (centres of its faces)."""
    _add_between(body, mujoco.mjtGeom.mjGEOM_CYLINDER, radius, start, end, paint, **settings)


def capsule(body: mujoco.MjsBody, radius: float, start: Vector, end: Vector, paint: Paint, **settings: object) -> None:
    """Add a capsule around the segment from ``start`` to ``end``."""
    _add_between(body, mujoco.mjtGeom.mjGEOM_CAPSULE, radius, start, end, paint, **settings)


def _add_between(
    body: mujoco.MjsBody,
    kind: mujoco.mjtGeom,
    radius: float,
    start: Vector,
    end: Vector,
    paint: Paint,
    **settings: object,
) -> None:
    along = np.subtract(end, start)
    length = float(np.linalg.norm(along))
    axis = along / length
    # the shortest turn from z to the axis
    turn = np.cross((0.0, 0.0, 1.0), axis)
    sine = float(np.linalg.norm(turn))
    angle = float(np.arctan2(sine, axis[2]))
    rotvec = turn / sine * angle if sine > 1e-9 else np.array([angle, 0.0, 0.0])
    middle = np.add(start, end) / 2
    _add(body, kind, (radius, length / 2), middle, paint, quat=quat(rotvec), **settings)
