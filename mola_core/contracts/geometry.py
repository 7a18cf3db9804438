"""Rigid transforms and rotations.

A transform is a 4x4 float64 matrix named ``target_from_source``; it maps points given in *source* to *target*.
A pose is a 6-vector: translation in metres, then a rotation vector in radians (the UR convention).
Quaternions are (x, y, z, w), as in ROS messages.
"""

import numpy as np
from jaxtyping import Float

Transform = Float[np.ndarray, "4 4"]
Pose = Float[np.ndarray, "6"]
Rotation = Float[np.ndarray, "3 3"]

_SMALL_ANGLE = 1e-8


def rotation_from_rotvec(rotvec: Float[np.ndarray, "3"]) -> Rotation:
    """Rodrigues' formula; exact at zero."""
    angle = float(np.linalg.norm(rotvec))
    x, y, z = (float(value) for value in rotvec)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < _SMALL_ANGLE:
        near: Rotation = np.eye(3) + skew
        return near
    rotation: Rotation = np.eye(3) + np.sin(angle) / angle * skew + (1.0 - np.cos(angle)) / angle**2 * (skew @ skew)
    return rotation


def rotvec_from_rotation(rotation: Rotation) -> Float[np.ndarray, "3"]:
    """Rotation vector of length in [0, pi]; through the quaternion, so that it is stable near pi."""
    quaternion = quaternion_from_rotation(rotation)
    vector, w = quaternion[:3], float(quaternion[3])
    sine = float(np.linalg.norm(vector))
    length = 2.0 if sine < _SMALL_ANGLE else 2.0 * float(np.arctan2(sine, w)) / sine
    rotvec: Float[np.ndarray, 3] = length * vector
    return rotvec


def quaternion_from_rotation(rotation: Rotation) -> Float[np.ndarray, "4"]:
    """Unit quaternion (x, y, z, w) with w >= 0 (Shepperd's method)."""
    m = rotation
    trace = float(m[0, 0] + m[1, 1] + m[2, 2])
    candidates = np.array([m[0, 0], m[1, 1], m[2, 2], trace])
    largest = int(np.argmax(candidates))
    quaternion = np.empty(4)
    if largest == 3:
        quaternion[:] = (m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace)
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        quaternion[i] = 1.0 + 2.0 * m[i, i] - trace
        quaternion[j] = m[j, i] + m[i, j]
        quaternion[k] = m[k, i] + m[i, k]
        quaternion[3] = m[k, j] - m[j, k]
    quaternion /= np.linalg.norm(quaternion)
    return quaternion if quaternion[3] >= 0 else -quaternion


def rotation_from_quaternion(quaternion: Float[np.ndarray, "4"]) -> Rotation:
    """Rotation of a quaternion (x, y, z, w) of any non-zero length."""
    x, y, z, w = (float(value) for value in quaternion / np.linalg.norm(quaternion))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def transform_from_pose(pose: Pose) -> Transform:
    """4x4 matrix of a pose 6-vector."""
    transform = np.eye(4)
    transform[:3, :3] = rotation_from_rotvec(pose[3:])
    transform[:3, 3] = pose[:3]
    return transform


def pose_from_transform(transform: Transform) -> Pose:
    """Pose 6-vector of a 4x4 matrix."""
    return np.concatenate([transform[:3, 3], rotvec_from_rotation(transform[:3, :3])])


def inverse_transform(target_from_source: Transform) -> Transform:
    """``source_from_target``, by transposing the rotation."""
    rotation = target_from_source[:3, :3]
    inverse = np.eye(4)
    inverse[:3, :3] = rotation.T
    inverse[:3, 3] = -rotation.T @ target_from_source[:3, 3]
    return inverse


def compose_poses(first: Pose, second: Pose) -> Pose:
    """The pose of ``first @ second`` (UR's ``pose_trans``)."""
    return pose_from_transform(transform_from_pose(first) @ transform_from_pose(second))


def interpolate_poses(first: Pose, second: Pose, fraction: float) -> Pose:
    """From ``first`` (at 0) to ``second`` (at 1): in a straight line, turning at constant rate about one axis (SLERP)."""
    if fraction == 0.0:
        return first.copy()
    if fraction == 1.0:
        return second.copy()
    rotation = rotation_from_rotvec(first[3:])
    turn = rotvec_from_rotation(rotation.T @ rotation_from_rotvec(second[3:]))
    between = rotation @ rotation_from_rotvec(fraction * turn)
    return np.concatenate([first[:3] + fraction * (second[:3] - first[:3]), rotvec_from_rotation(between)])
