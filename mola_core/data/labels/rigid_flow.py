"""Optical flow of a scene of rigid bodies, exact: from depth, the body that each pixel shows, and all poses now and then.

Storing these instead of flow keeps labels small and gives the flow between any two rows. Camera motion is included. A point that is
hidden later still has a flow; one that comes to lie behind the camera has none.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from mola_core.contracts.geometry import Transform

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
    """Where each pixel of now moves to."""

    shift: Float32[np.ndarray, "h w 2"]
    """In fractions of the view's width and height; zero where not known."""
    known: Bool[np.ndarray, "h w"]


def rigid_flow(
    *,
    depth: Float[np.ndarray, "h w"],
    body: Int[np.ndarray, "h w"],
    camera: Pinhole,
    base_from_camera: tuple[Transform, Transform],
    base_from_body: tuple[Float[np.ndarray, "bodies 4 4"], Float[np.ndarray, "bodies 4 4"]],
) -> Flow:
    """Flow from the first to the second of each pair; ``depth`` along the optical axis, m, 0 unknown; ``body`` < 0: nothing there."""
    shift = np.zeros((camera.height, camera.width, 2), np.float32)
    known = np.zeros((camera.height, camera.width), bool)
    rows, columns = np.nonzero((depth > 0.0) & (body >= 0))
    seen = body[rows, columns]
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - camera.cx) / camera.focal * z, (rows - camera.cy) / camera.focal * z, z])
    camera_from_base = np.linalg.inv(base_from_camera[1])
    for index in np.unique(seen):
        chosen = seen == index
        then_from_now = (
            camera_from_base @ base_from_body[1][index] @ np.linalg.inv(base_from_body[0][index]) @ base_from_camera[0]
        )
        moved = then_from_now[:3, :3] @ points[:, chosen] + then_from_now[:3, 3:]
        ahead = moved[2] > _NEAREST_M
        at = rows[chosen][ahead], columns[chosen][ahead]
        x, y, depth_then = moved[:, ahead]
        shift[at[0], at[1], 0] = (x / depth_then * camera.focal + camera.cx - at[1]) / camera.width
        shift[at[0], at[1], 1] = (y / depth_then * camera.focal + camera.cy - at[0]) / camera.height
        known[at] = True
    return Flow(shift=shift, known=known)
