"""The pinhole intrinsics of the D455 and the D405 at any resolution.

Fields of view are those of Intel's "RealSense D400 Series Product Family" data sheet: D455 colour 90 x 65 degrees on a
1280 x 800 sensor, D405 (colour from the left imager) 87 x 58 degrees on 1280 x 720. Square pixels are assumed, with the
mean of the focal lengths that both angles give. Every resolution is the centred crop of the sensor with its aspect,
scaled, which is the rule that the devices follow (424 x 240 keeps the full width, 640 x 480 loses the sides). Depth is
rendered for the colour pixels themselves, so both streams share one set of intrinsics.

Pixel centres lie at integer coordinates (librealsense, OpenCV), so the middle of the image is at (size - 1) / 2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt16

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.types import CameraIntrinsics


@dataclass(frozen=True, slots=True)
class CameraModel:
    """What is published about one camera."""

    name: str
    sensor_width: int
    sensor_height: int
    horizontal_fov_deg: float
    vertical_fov_deg: float
    depth_unit_m: float
    """Metres per count of the raw depth stream (the devices' defaults)."""
    nearest_depth_m: float
    """Depth below this is unknown (0), at 848 pixels of width; it shrinks with the resolution."""

    @property
    def focal_px(self) -> float:
        """Focal length in pixels of the full sensor."""
        horizontal = self.sensor_width / 2 / np.tan(np.deg2rad(self.horizontal_fov_deg) / 2)
        vertical = self.sensor_height / 2 / np.tan(np.deg2rad(self.vertical_fov_deg) / 2)
        return float(horizontal + vertical) / 2

    def nearest_depth(self, width: int) -> float:
        """Smallest measurable depth in metres for a stream ``width`` pixels wide (minimum Z is proportional to it)."""
        return self.nearest_depth_m * min(1.0, width / 848)


D455 = CameraModel("D455", 1280, 800, 90.0, 65.0, depth_unit_m=0.001, nearest_depth_m=0.34)
D405 = CameraModel("D405", 1280, 720, 87.0, 58.0, depth_unit_m=0.0001, nearest_depth_m=0.07)
MODELS = {model.name: model for model in (D455, D405)}


def intrinsics(*, model: str, width: int, height: int) -> CameraIntrinsics:
    """Intrinsics of camera ``model`` ("D455" or "D405") streaming ``width`` x ``height``.

    Raises:
        ConfigError: unknown model, or more pixels than the sensor has.
    """
    if model not in MODELS:
        raise ConfigError(f"camera model {model!r} is not known; the twin has {', '.join(MODELS)}")
    camera = MODELS[model]
    if not (16 <= width <= camera.sensor_width and 16 <= height <= camera.sensor_height):
        raise ConfigError(
            f"{model} cannot stream {width}x{height}; ask for 16x16 to {camera.sensor_width}x{camera.sensor_height}"
        )
    scale = max(width / camera.sensor_width, height / camera.sensor_height)
    focal = camera.focal_px * scale
    return CameraIntrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def centre_crop(source: CameraIntrinsics, *, width: int, height: int) -> CameraIntrinsics:
    """The largest centred crop of ``source`` with the aspect of ``width`` x ``height``, resized to it.

    What a policy's preprocessing does to a stream; rendering with the result gives its view without the larger image.
    """
    focal = source.fy * max(width / source.width, height / source.height)
    return CameraIntrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def depth_counts(
    depth: Float[np.ndarray, "height width"], *, model: str, width: int, unit_m: float | None = None
) -> UInt16[np.ndarray, "height width"]:
    """What ``model``'s raw depth stream says of distances in metres; 0 where it is too near, too far or nothing.

    ``width`` is that of the stream, on which the nearest distance depends; ``unit_m`` replaces the model's own unit.
    """
    camera = MODELS[model]
    unit = camera.depth_unit_m if unit_m is None else unit_m
    counts = np.rint(depth / np.float32(unit))
    known = (depth >= camera.nearest_depth(width)) & (counts <= np.iinfo(np.uint16).max)
    return np.where(known, counts, 0).astype(np.uint16)


def depth_millimetres(
    depth: Float[np.ndarray, "height width"], *, model: str, width: int
) -> UInt16[np.ndarray, "height width"]:
    """The same in millimetres, as :class:`mola_core.contracts.types.Frame` holds it."""
    return depth_counts(depth, model=model, width=width, unit_m=0.001)
