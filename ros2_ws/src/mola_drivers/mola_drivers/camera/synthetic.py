"""A D455 or D405 made of software, recorded to a file that the real pipeline plays.

For machines without a camera: tests, benchmarks, a first try. The device carries the names, sensors, intrinsics,
extrinsics and depth units of its model; the pictures are the caller's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_drivers.camera.librealsense import load_librealsense

_DEPTH_UID, _COLOR_UID = 1, 2


@dataclass(frozen=True, slots=True)
class SyntheticModel:
    """What distinguishes the two models as far as a driver sees them."""

    name: str
    product_id: str
    depth_unit_m: float
    color_from_depth_translation: tuple[float, float, float]
    color_sensor: str
    """The D405's colour comes from its stereo module."""
    field_of_view_deg: float
    """Horizontal, of colour."""


MODELS = {
    "D455": SyntheticModel("Intel RealSense D455", "0B5C", 0.001, (-0.059, 0.0, 0.0), "RGB Camera", 90.0),
    "D405": SyntheticModel("Intel RealSense D405", "0B5B", 0.0001, (0.0, 0.0, 0.0), "Stereo Module", 87.0),
}


@dataclass(frozen=True, slots=True)
class SyntheticFrame:
    """One pair of pictures and the times at which they were taken."""

    color: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    depth: UInt16[np.ndarray, "height width"]
    """Counts in the depth sensor's own view."""
    color_ms: float
    """Milliseconds since the Unix epoch."""
    depth_ms: float


@dataclass(frozen=True, slots=True)
class SyntheticDevice:
    """What to record."""

    model: Literal["D455", "D405"]
    serial: str
    width: int
    height: int
    fps: int
    color_from_depth_rotation: Float[np.ndarray, "3 3"] | None = None
    """None: aligned axes, as both models have them to within a degree."""
    global_time: bool = True
    """False: stamps of the device's own clock, as when global time is not available."""


@dataclass(frozen=True, slots=True)
class SoftwareDevice:
    """librealsense's objects of a synthetic device."""

    device: Any
    depth_sensor: Any
    color_sensor: Any
    depth_profile: Any
    color_profile: Any


def record_synthetic(
    path: Path, *, device: SyntheticDevice, frames: Iterable[SyntheticFrame], clock: Clock | None = None
) -> None:
    """Write ``frames`` as a recording of ``device`` to ``path`` (``.db3``, uncompressed, must not exist).

    With a ``clock`` they are recorded at the device's rate, which is what real-time playback keeps to; without one as
    fast as possible.
    """
    rs = load_librealsense()
    software = build_synthetic(device)
    recorded = rs.recorder(str(path), software.device, False).query_sensors()
    queue = rs.frame_queue(1)
    for sensor in recorded:
        sensor.open(sensor.get_stream_profiles())
        sensor.start(queue)
    start_ns = clock.monotonic_ns() if clock else 0
    for number, frame in enumerate(frames, start=1):
        if clock:
            clock.sleep_until(start_ns + number * NS_PER_S // device.fps)
        depth = _video_frame(rs, device, pixels=frame.depth, stamp_ms=frame.depth_ms, number=number)
        depth.profile = software.depth_profile.as_video_stream_profile()
        depth.depth_units = MODELS[device.model].depth_unit_m
        software.depth_sensor.on_video_frame(depth)
        color = _video_frame(rs, device, pixels=frame.color, stamp_ms=frame.color_ms, number=number)
        color.profile = software.color_profile.as_video_stream_profile()
        software.color_sensor.on_video_frame(color)
    for sensor in recorded:
        sensor.stop()
        sensor.close()


def _video_frame(rs: ModuleType, device: SyntheticDevice, *, pixels: np.ndarray, stamp_ms: float, number: int) -> Any:
    video = rs.software_video_frame()
    video.pixels = np.ascontiguousarray(pixels)
    video.bpp = pixels.strides[1]
    video.stride = pixels.strides[0]
    video.timestamp, video.frame_number = stamp_ms, number
    domains = rs.timestamp_domain
    video.domain = domains.global_time if device.global_time else domains.hardware_clock
    return video


def focal_length_px(*, device: SyntheticDevice) -> float:
    """Of both streams of a synthetic device."""
    return float(device.width / 2 / np.tan(np.radians(MODELS[device.model].field_of_view_deg) / 2))


def build_synthetic(device: SyntheticDevice) -> SoftwareDevice:
    """The software device, not visible to any context or pipeline."""
    rs = load_librealsense()
    model = MODELS[device.model]
    software = rs.software_device()
    software.register_info(rs.camera_info.name, model.name)
    software.register_info(rs.camera_info.serial_number, device.serial)
    software.register_info(rs.camera_info.product_id, model.product_id)
    software.register_info(rs.camera_info.product_line, "D400")
    depth_sensor = software.add_sensor("Stereo Module")
    depth_sensor.add_read_only_option(rs.option.depth_units, model.depth_unit_m)
    shared = model.color_sensor == "Stereo Module"
    color_sensor = depth_sensor if shared else software.add_sensor(model.color_sensor)
    depth = depth_sensor.add_video_stream(_stream(rs, device, stream=rs.stream.depth))
    color = color_sensor.add_video_stream(_stream(rs, device, stream=rs.stream.color))
    extrinsics = rs.extrinsics()
    rotation = np.eye(3) if device.color_from_depth_rotation is None else device.color_from_depth_rotation
    extrinsics.rotation = rotation.T.ravel().tolist()  # librealsense stores columns
    extrinsics.translation = list(model.color_from_depth_translation)
    depth.register_extrinsics_to(color, extrinsics)
    software.create_matcher(rs.matchers.default)
    return SoftwareDevice(software, depth_sensor, color_sensor, depth, color)


def _stream(rs: ModuleType, device: SyntheticDevice, *, stream: Any) -> Any:
    is_depth = stream == rs.stream.depth
    video = rs.video_stream()
    video.type, video.index, video.uid = stream, 0, _DEPTH_UID if is_depth else _COLOR_UID
    video.width, video.height, video.fps = device.width, device.height, device.fps
    video.fmt, video.bpp = (rs.format.z16, 2) if is_depth else (rs.format.rgb8, 3)
    intrinsics = rs.intrinsics()
    intrinsics.width, intrinsics.height = device.width, device.height
    intrinsics.ppx, intrinsics.ppy = device.width / 2, device.height / 2
    intrinsics.fx = intrinsics.fy = focal_length_px(device=device)
    intrinsics.model, intrinsics.coeffs = rs.distortion.brown_conrady, [0.0] * 5
    video.intrinsics = intrinsics
    return video
