"""Finding a RealSense device and setting it up, before and after its streams start.

Everything here works on librealsense's own ``device`` and ``sensor`` objects, live, recorded or software-made.
"""

from types import ModuleType
from typing import Any

from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import CameraStreamSpec

_US_PER_RGB_STEP = 100
"""The RGB module counts exposure in 100 us, the stereo module in 1 us."""


def find_device(rs: ModuleType, *, serial: str) -> Any:
    """The connected device with ``serial``; takes a millisecond, unlike ``pipeline.start``, which would block for 15 s.

    Raises:
        CameraError: no such device; lists those that are connected.
    """
    devices = list(rs.context().query_devices())
    for device in devices:
        if device.get_info(rs.camera_info.serial_number) == serial:
            return device
    connected = ", ".join(describe(rs, device) for device in devices) or "none"
    raise CameraError(f"no RealSense camera with serial {serial!r}; connected: {connected}")


def describe(rs: ModuleType, device: Any) -> str:
    """Name and serial number (and USB type) of a device, for messages."""
    text = f"{device.get_info(rs.camera_info.name)} {device.get_info(rs.camera_info.serial_number)}"
    if device.supports(rs.camera_info.usb_type_descriptor):
        text += f" (USB {device.get_info(rs.camera_info.usb_type_descriptor)})"
    return text


def check_device(rs: ModuleType, device: Any, *, spec: CameraStreamSpec) -> None:
    """Is it the model, and does it have the streams, that the site asks for?

    Raises:
        CameraError: it is not or has not; lists what it has.
    """
    name = describe(rs, device)
    if spec.model not in name:
        raise CameraError(f"the site expects a {spec.model}, found {name}; correct serial, path or model")
    _check_stream(rs, device, spec=spec, stream=rs.stream.color, fmt=rs.format.rgb8)
    if spec.depth:
        _check_stream(rs, device, spec=spec, stream=rs.stream.depth, fmt=rs.format.z16)


def _check_stream(rs: ModuleType, device: Any, *, spec: CameraStreamSpec, stream: Any, fmt: Any) -> None:
    available = set()
    for sensor in device.query_sensors():
        for profile in sensor.get_stream_profiles():
            if profile.stream_type() == stream and profile.format() == fmt:
                video = profile.as_video_stream_profile()
                available.add((video.width(), video.height(), video.fps()))
    if (spec.width, spec.height, spec.fps) not in available:
        listed = ", ".join(f"{width}x{height}@{fps}" for width, height, fps in sorted(available)) or "none"
        raise CameraError(
            f"{describe(rs, device)} has no {stream.name} {spec.width}x{spec.height}@{spec.fps}; available: {listed}"
        )


def set_up_sensors(rs: ModuleType, device: Any, *, spec: CameraStreamSpec) -> None:
    """Host time stamps, a steady frame rate, and the site's exposure and white balance.

    Raises:
        CameraError: the site asks for a value outside the sensor's range or an option that it lacks.
    """
    for sensor in device.query_sensors():
        _set_if_supported(sensor, rs.option.global_time_enabled, 1.0)
    sensor = color_sensor(rs, device)
    _set_if_supported(sensor, rs.option.auto_exposure_priority, 0.0)
    if spec.exposure_us is not None:
        # the D405 has no RGB module: its colour comes from, and is exposed by, the stereo module
        step_us = 1 if sensor.is_depth_sensor() else _US_PER_RGB_STEP
        _fix(
            rs, sensor, auto=rs.option.enable_auto_exposure, option=rs.option.exposure, value=spec.exposure_us / step_us
        )
    if spec.white_balance_k is not None:
        auto = rs.option.enable_auto_white_balance
        _fix(rs, sensor, auto=auto, option=rs.option.white_balance, value=float(spec.white_balance_k))


def color_sensor(rs: ModuleType, device: Any) -> Any:
    """The sensor that delivers colour: the RGB module, or the stereo module of a D405.

    Raises:
        CameraError: none does.
    """
    for sensor in device.query_sensors():
        if any(profile.stream_type() == rs.stream.color for profile in sensor.get_stream_profiles()):
            return sensor
    raise CameraError(f"{describe(rs, device)} has no colour stream")


def _set_if_supported(sensor: Any, option: Any, value: float) -> None:
    if sensor.supports(option) and not sensor.is_option_read_only(option):
        sensor.set_option(option, value)


def _fix(rs: ModuleType, sensor: Any, *, auto: Any, option: Any, value: float) -> None:
    name = f"{option.name} of {sensor.get_info(rs.camera_info.name)}"
    if not sensor.supports(option) or sensor.is_option_read_only(option):
        raise CameraError(f"{name} cannot be set on this camera; remove it from the site file")
    limits = sensor.get_option_range(option)
    if not limits.min <= value <= limits.max:
        raise CameraError(f"{name} = {value:g} is outside {limits.min:g}..{limits.max:g} (sensor units)")
    _set_if_supported(sensor, auto, 0.0)
    steps = round((value - limits.min) / limits.step) if limits.step else 0
    wanted = limits.min + steps * limits.step if limits.step else value
    sensor.set_option(option, wanted)
    got = sensor.get_option(option)
    if abs(got - wanted) > max(limits.step, 1e-6):
        raise CameraError(f"{name} was set to {wanted:g} but reads {got:g}; is another program using the camera?")
