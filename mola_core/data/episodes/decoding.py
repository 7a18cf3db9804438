"""From decoded messages of a bag to the types of the contracts."""

import json
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.types import (
    ActionChunk,
    ActionSpace,
    CameraIntrinsics,
    CommandedState,
    RobotMode,
    RobotState,
    SafetyMode,
    StampDomain,
)
from mola_core.data.episodes.meta import EpisodeError

_VERSION = 1
_SPACES = (ActionSpace.JOINT, ActionSpace.TCP)
"""By the number that stands for it in a message."""


def ns_of(time: Any) -> int:
    """Nanoseconds of a Time or Duration message."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def robot_state(message: Any) -> RobotState:
    """Of a ``mola_interfaces/msg/RobotState``.

    Raises:
        EpisodeError: another version, or numbers that make no sense.
    """
    _check_version(message, what="robot state")
    try:
        robot_mode, safety_mode = RobotMode(message.robot_mode), SafetyMode(message.safety_mode)
    except ValueError as error:
        raise EpisodeError(f"recorded robot state {message.sequence}: {error}") from error
    return RobotState(
        stamp_ns=ns_of(message.stamp),
        joint_positions=_vector(message, "joint_positions"),
        joint_velocities=_vector(message, "joint_velocities"),
        base_from_tcp=_vector(message, "base_from_tcp"),
        gripper_opening=message.gripper_opening if message.has_gripper_opening else None,
        robot_mode=robot_mode,
        safety_mode=safety_mode,
        speed_scaling=message.speed_scaling,
    )


def commanded_state(message: Any) -> CommandedState:
    """Of a ``mola_interfaces/msg/CommandedState``.

    Raises:
        EpisodeError: another version, or numbers that are not finite.
    """
    _check_version(message, what="commanded state")
    return CommandedState(
        stamp_ns=ns_of(message.stamp),
        joint_positions=_vector(message, "joint_positions"),
        base_from_tcp=_vector(message, "base_from_tcp"),
        gripper_opening=message.gripper_opening if message.has_gripper_opening else None,
        source=message.source,
        chunk_sequence=message.chunk_sequence,
        bundle_id=message.bundle_id,
    )


def action_chunk(message: Any) -> ActionChunk:
    """Of a ``mola_interfaces/msg/ActionChunk``, as it was sent: whether it could be executed was the controller's to judge.

    Raises:
        EpisodeError: another version, or lengths that contradict each other.
    """
    _check_version(message, what="action chunk")
    targets, openings = (
        np.array(message.targets, dtype=np.float64),
        np.array(message.gripper_openings, dtype=np.float64),
    )
    if targets.size != message.horizon * 6 or openings.size != message.horizon or message.space >= len(_SPACES):
        raise EpisodeError(
            f"recorded chunk {message.sequence} of {message.source!r} has {targets.size} targets and {openings.size} "
            f"openings of space {message.space} for horizon {message.horizon}"
        )
    return ActionChunk(
        sequence=message.sequence,
        source=message.source,
        bundle_id=message.bundle_id,
        stamp_ns=ns_of(message.stamp),
        alive_stamp_ns=ns_of(message.alive_stamp),
        start_ns=ns_of(message.start),
        period_ns=ns_of(message.period),
        space=_SPACES[message.space],
        targets=targets.reshape(-1, 6),
        gripper_openings=openings,
        execute_steps=message.execute_steps,
        final=message.final,
    )


def color_image(message: Any) -> UInt8[np.ndarray, "height width 3"]:
    """RGB of an rgb8 ``sensor_msgs/msg/Image``; a read-only view into the message."""
    return _image(message, encoding="rgb8", dtype="u1", channels=3)


def depth_image(message: Any) -> UInt16[np.ndarray, "height width"]:
    """Millimetres of a 16UC1 ``sensor_msgs/msg/Image``; a read-only view into the message."""
    return _image(message, encoding="16UC1", dtype="u2", channels=1)[..., 0]


def frame_metadata(message: Any) -> tuple[int, StampDomain, int, int]:
    """Capture stamp, its domain, receive stamp and sequence number of a frame, from its metadata message.

    Raises:
        EpisodeError: not what the camera node writes.
    """
    try:
        content = json.loads(message.data)
        domain = StampDomain(content["stamp_domain"])
        return int(content["stamp_ns"]), domain, int(content["received_ns"]), int(content["sequence"])
    except (ValueError, KeyError, TypeError) as error:
        raise EpisodeError(f"recorded camera metadata is not understood: {message.data!r:.80}") from error


def intrinsics(message: Any) -> CameraIntrinsics:
    """Of a ``sensor_msgs/msg/CameraInfo``.

    Raises:
        EpisodeError: another distortion model, or no focal length.
    """
    if message.distortion_model != "plumb_bob" or len(message.d) != 5 or not (message.k[0] > 0 and message.k[4] > 0):
        raise EpisodeError(
            f"recorded camera info has distortion {message.distortion_model!r} {list(message.d)} and matrix "
            f"{list(message.k)}; plumb_bob with five coefficients and a focal length is understood"
        )
    k1, k2, p1, p2, k3 = (float(value) for value in message.d)
    fx, fy, cx, cy = (float(message.k[index]) for index in (0, 4, 2, 5))
    return CameraIntrinsics(message.width, message.height, fx, fy, cx, cy, (k1, k2, p1, p2, k3))


def _image(message: Any, *, encoding: str, dtype: str, channels: int) -> "np.ndarray[Any, Any]":
    pixels = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = message.width * channels * pixels.itemsize
    if message.encoding != encoding or message.step != row_bytes or len(message.data) != message.height * row_bytes:
        raise EpisodeError(
            f"recorded image is {message.encoding!r}, {message.width}x{message.height}, {message.step} bytes a row and "
            f"{len(message.data)} in all; {encoding!r} with {row_bytes} a row expected"
        )
    return np.frombuffer(message.data, dtype=pixels).reshape(message.height, message.width, channels)


def _vector(message: Any, name: str) -> "np.ndarray[Any, Any]":
    vector = np.array(getattr(message, name), dtype=np.float64)
    if vector.shape != (6,) or not np.isfinite(vector).all():
        raise EpisodeError(
            f"{name} of recorded message {message.sequence} is not six finite numbers: {vector.tolist()}"
        )
    return vector


def _check_version(message: Any, *, what: str) -> None:
    if message.version != _VERSION:
        raise EpisodeError(f"recorded {what} of version {message.version}; version {_VERSION} is understood")
