"""Camera frames, their metadata and calibration, as realsense-ros publishes them."""

import json
import sys

import numpy as np
from geometry_msgs.msg import TransformStamped
from jaxtyping import UInt8, UInt16
from sensor_msgs.msg import CameraInfo as CameraInfoMsg
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from mola_core.contracts.geometry import Transform, quaternion_from_rotation
from mola_core.contracts.types import CameraIntrinsics, Frame, StampDomain
from mola_nodes.conversions.wire import MessageError, bytes_to_wire, check_length, time_from_ns

_COLOR, _DEPTH = "rgb8", "16UC1"
_DTYPES = {_COLOR: (np.uint8, 3), _DEPTH: (np.uint16, 1)}


def color_message(frame: Frame, *, frame_id: str) -> Image:
    """The colour image (rgb8), stamped with its capture time."""
    return _image(frame.color, encoding=_COLOR, stamp_ns=frame.stamp_ns, frame_id=frame_id)


def color_image_message(pixels: UInt8[np.ndarray, "height width 3"], *, header: Header) -> Image:
    """A picture made of a frame (rgb8), under that frame's header."""
    message = _image(pixels, encoding=_COLOR, stamp_ns=0, frame_id="")
    message.header = header
    return message


def depth_message(frame: Frame, *, frame_id: str) -> Image:
    """The depth aligned to colour (16UC1, mm; 0 = unknown).

    Raises:
        MessageError: the frame has no depth.
    """
    if frame.depth is None:
        raise MessageError(f"frame {frame.sequence} has no depth")
    return _image(frame.depth, encoding=_DEPTH, stamp_ns=frame.stamp_ns, frame_id=frame_id)


def _image(pixels: np.ndarray, *, encoding: str, stamp_ns: int, frame_id: str) -> Image:
    dtype, channels = _DTYPES[encoding]
    wanted = 3 if channels > 1 else 2
    if pixels.dtype != dtype or pixels.ndim != wanted or (channels > 1 and pixels.shape[2] != channels):
        raise MessageError(f"{encoding} image has shape {pixels.shape} of {pixels.dtype}")
    message = Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=sys.byteorder == "big",
        step=pixels.shape[1] * channels * pixels.itemsize,
        data=bytes_to_wire(pixels),
    )
    message.header.stamp = time_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    return message


def side_by_side_message(frames: UInt8[np.ndarray, "T height width 3"], *, stamp_ns: int, frame_id: str) -> Image:
    """Frames of one camera as one rgb8 image, from left to right."""
    row = np.ascontiguousarray(np.concatenate(list(frames), axis=1))
    return _image(row, encoding=_COLOR, stamp_ns=stamp_ns, frame_id=frame_id)


def color_from_message(message: Image) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of an rgb8 image; a view into the message."""
    return _pixels(message, encoding=_COLOR)


def depth_from_message(message: Image) -> UInt16[np.ndarray, "height width"]:
    """Pixels of a 16UC1 image, mm; a view into the message."""
    return _pixels(message, encoding=_DEPTH)


def _pixels(message: Image, *, encoding: str) -> np.ndarray:
    if message.encoding != encoding:
        raise MessageError(f"image is {message.encoding!r}, {encoding!r} expected")
    dtype, channels = _DTYPES[encoding]
    row_bytes = message.width * channels * np.dtype(dtype).itemsize
    if message.step != row_bytes:
        raise MessageError(f"image rows have {message.step} bytes, {row_bytes} expected for width {message.width}")
    check_length(name="image data", values=message.data, length=message.height * row_bytes)
    shape = (message.height, message.width, channels) if channels > 1 else (message.height, message.width)
    pixels = np.frombuffer(message.data, dtype=np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<"))
    return pixels.reshape(shape)


def metadata_message(frame: Frame) -> String:
    """What an image message cannot say of a frame, as JSON."""
    content = {
        "stamp_ns": frame.stamp_ns,
        "stamp_domain": frame.stamp_domain.value,
        "received_ns": frame.received_ns,
        "sequence": frame.sequence,
    }
    return String(data=json.dumps(content))


def capture_and_receive_ns(message: String) -> tuple[int, int]:
    """Capture stamp and time of arrival in the camera node, of a frame's metadata.

    Raises:
        MessageError: not the JSON of :func:`metadata_message`.
    """
    try:
        content = json.loads(message.data)
        StampDomain(content["stamp_domain"])
        return int(content["stamp_ns"]), int(content["received_ns"])
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"camera metadata is not understood: {message.data!r:.80}") from error


def camera_info_message(intrinsics: CameraIntrinsics, *, stamp_ns: int, frame_id: str) -> CameraInfoMsg:
    """Pinhole model with Brown-Conrady distortion (``plumb_bob``)."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    message = CameraInfoMsg(
        height=intrinsics.height,
        width=intrinsics.width,
        distortion_model="plumb_bob",
        d=[float(value) for value in intrinsics.distortion],
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    message.header.stamp = time_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    return message


def intrinsics_from_message(message: CameraInfoMsg) -> CameraIntrinsics:
    """The pinhole model of a camera.

    Raises:
        MessageError: another distortion model, or no focal length.
    """
    if message.distortion_model != "plumb_bob":
        raise MessageError(f"distortion model {message.distortion_model!r} is not plumb_bob")
    check_length(name="distortion", values=message.d, length=5)
    if not (message.k[0] > 0 and message.k[4] > 0):
        raise MessageError(f"camera matrix {list(message.k)} has no focal length; is the camera calibrated?")
    k1, k2, p1, p2, k3 = (float(value) for value in message.d)
    return CameraIntrinsics(
        width=message.width,
        height=message.height,
        fx=float(message.k[0]),
        fy=float(message.k[4]),
        cx=float(message.k[2]),
        cy=float(message.k[5]),
        distortion=(k1, k2, p1, p2, k3),
    )


def mount_message(
    parent_from_camera: Transform, *, parent_frame: str, camera_frame: str, stamp_ns: int
) -> TransformStamped:
    """Where the colour optical frame sits in the frame that carries the camera; m."""
    message = TransformStamped()
    message.header.stamp = time_from_ns(stamp_ns)
    message.header.frame_id = parent_frame
    message.child_frame_id = camera_frame
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = (float(value) for value in parent_from_camera[:3, 3])
    quaternion = quaternion_from_rotation(parent_from_camera[:3, :3])
    rotation.x, rotation.y, rotation.z, rotation.w = (float(value) for value in quaternion)
    return message
