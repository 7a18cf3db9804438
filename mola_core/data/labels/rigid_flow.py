"""Optical flow of a scene of rigid bodies, exact: from depth, the body that each pixel shows, and all poses now and then.

Storing these instead of flow keeps labels small and gives the flow between any two rows. Camera motion is included. A point that is
hidden later still has a flow; one that comes to lie behind the camera has none.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

_NEAREST_M = 1e-3


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics of a label map, in its own pixels; pixel centres at integers."""

    width: int
    height: int
    focal: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Flow:
    """Where each pixel of now is at T later instants."""

    shift: Float32[np.ndarray, "T h w 2"]
    """In fractions of the view's width and height; zero where not known."""
    known: Bool[np.ndarray, "T h w"]


@dataclass(frozen=True)
class Poses:
    """Camera and bodies at one instant, or at T of them (with an axis in front). Rigid: the last row is left out."""

    base_from_camera: Float[np.ndarray, "*T 3 4"]
    base_from_body: Float[np.ndarray, "*T bodies 3 4"]


def rigid_flow(
    *, depth: Float[np.ndarray, "h w"], body: Int[np.ndarray, "h w"], camera: Pinhole, now: Poses, then: Poses
) -> Flow:
    """Flow from ``now`` to each instant of ``then``; ``depth`` along the optical axis, m, 0 unknown; ``body`` < 0: nothing there."""
    num_instants = len(then.base_from_camera)
    shift = np.zeros((num_instants, camera.height, camera.width, 2), np.float32)
    known = np.zeros((num_instants, camera.height, camera.width), bool)
    rows, columns = np.nonzero((depth > 0.0) & (body >= 0))
    z = depth[rows, columns].astype(np.float32)
    rays = np.stack([(columns - camera.cx) / camera.focal, (rows - camera.cy) / camera.focal, np.ones(len(rows))])
    points = rays.astype(np.float32) * z
    moves = _moves(now, then).astype(np.float32)[:, body[rows, columns]]
    x, y, ahead = np.moveaxis(
        np.einsum("tnij,jn->tin", moves[..., :3], points) + np.moveaxis(moves[..., 3], 2, 1), 1, 0
    )
    visible = ahead > _NEAREST_M
    ahead = np.where(visible, ahead, 1.0)
    shift[:, rows, columns, 0] = np.where(visible, (x / ahead * camera.focal + camera.cx - columns) / camera.width, 0.0)
    shift[:, rows, columns, 1] = np.where(visible, (y / ahead * camera.focal + camera.cy - rows) / camera.height, 0.0)
    known[:, rows, columns] = visible
    return Flow(shift=shift, known=known)


def _moves(now: Poses, then: Poses) -> Float[np.ndarray, "T bodies 3 4"]:
    """``camera_then_from_camera_now`` of a point that moves with each body."""
    camera_from_base = _inverse(then.base_from_camera)[:, None]
    body_from_camera = _compose(_inverse(now.base_from_body), now.base_from_camera)
    return _compose(camera_from_base, _compose(then.base_from_body, body_from_camera))


def _inverse(transforms: Float[np.ndarray, "*n 3 4"]) -> Float[np.ndarray, "*n 3 4"]:
    rotations = np.swapaxes(transforms[..., :3], -1, -2).astype(np.float64)
    return np.concatenate([rotations, -rotations @ transforms[..., 3:]], axis=-1)


def _compose(first: Float[np.ndarray, "*n 3 4"], second: Float[np.ndarray, "*n 3 4"]) -> Float[np.ndarray, "*n 3 4"]:
    product: Float[np.ndarray, "*n 3 4"] = first[..., :3] @ second
    product[..., 3] += first[..., 3]
    return product
