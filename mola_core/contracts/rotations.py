"""Rotations by the thousand: :mod:`mola_core.contracts.geometry` with axes in front, for datasets."""

import numpy as np
from jaxtyping import Float

_SMALL_ANGLE = 1e-8


def matrices_from_rotvecs(rotvecs: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rodrigues' formula; exact at zero."""
    angle = np.linalg.norm(rotvecs, axis=-1)[..., None, None]
    safe = np.maximum(angle, _SMALL_ANGLE)
    x, y, z = np.moveaxis(np.asarray(rotvecs, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    sine = np.where(angle < _SMALL_ANGLE, 1.0, np.sin(safe) / safe)
    versine = np.where(angle < _SMALL_ANGLE, 0.5, (1.0 - np.cos(safe)) / safe**2)
    matrices: Float[np.ndarray, "*batch 3 3"] = np.eye(3) + sine * skew + versine * (skew @ skew)
    return matrices


def rotvecs_from_matrices(matrices: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Rotation vectors of length in [0, pi]; through quaternions, so that they are stable near pi."""
    quaternions = quaternions_from_matrices(matrices)
    vector, w = quaternions[..., :3], quaternions[..., 3:]
    sine = np.linalg.norm(vector, axis=-1, keepdims=True)
    safe = np.maximum(sine, _SMALL_ANGLE)
    length = np.where(sine < _SMALL_ANGLE, 2.0, 2.0 * np.arctan2(safe, w) / safe)
    rotvecs: Float[np.ndarray, "*batch 3"] = length * vector
    return rotvecs


def quaternions_from_matrices(matrices: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 4"]:
    """Unit quaternions (x, y, z, w) with w >= 0 (Shepperd's method: of four ways to say it, the one that divides by most)."""
    m = np.moveaxis(np.asarray(matrices, dtype=np.float64), (-2, -1), (0, 1))
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    xy, xz, yz = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    xw, yw, zw = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    ways = np.stack(
        [
            np.stack([1.0 + 2.0 * m[0, 0] - trace, xy, xz, xw], axis=-1),
            np.stack([xy, 1.0 + 2.0 * m[1, 1] - trace, yz, yw], axis=-1),
            np.stack([xz, yz, 1.0 + 2.0 * m[2, 2] - trace, zw], axis=-1),
            np.stack([xw, yw, zw, 1.0 + trace], axis=-1),
        ],
        axis=-2,
    )
    largest = np.argmax(np.stack([m[0, 0], m[1, 1], m[2, 2], trace], axis=-1), axis=-1)
    chosen = np.take_along_axis(ways, largest[..., None, None], axis=-2)[..., 0, :]
    unit: Float[np.ndarray, "*batch 4"] = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(unit[..., 3:] < 0.0, -unit, unit)
