"""Exposure, white balance and profiles, on librealsense's own software sensors."""

import pytest

from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import RealsenseCameraSpec
from mola_drivers.camera.device_setup import check_device, color_sensor, set_up_sensors
from mola_drivers.camera.librealsense import load_librealsense
from mola_drivers.camera.synthetic import SyntheticDevice, build_synthetic


@pytest.fixture
def rs():
    return load_librealsense()


def spec_for(model: str, **changes: object) -> RealsenseCameraSpec:
    values = {"source": "realsense", "serial": "1", "model": model, "width": 128, "height": 96, "fps": 30}
    return RealsenseCameraSpec.model_validate(values | {"base_from_camera": (0.0,) * 6} | changes)


def device_for(rs, model: str):
    """A software device whose colour sensor has the options of the real one."""
    software = build_synthetic(SyntheticDevice(model=model, serial="1", width=128, height=96, fps=30))
    sensor = software.color_sensor
    # the RGB module counts exposure in 100 us, the stereo module, which carries a D405's colour, in us
    longest = 10_000.0 if model == "D455" else 165_000.0
    for option, low, high, step, default in (
        (rs.option.exposure, 1.0, longest, 1.0, 156.0),
        (rs.option.enable_auto_exposure, 0.0, 1.0, 1.0, 1.0),
        (rs.option.white_balance, 2800.0, 6500.0, 10.0, 4600.0),
        (rs.option.enable_auto_white_balance, 0.0, 1.0, 1.0, 1.0),
        (rs.option.auto_exposure_priority, 0.0, 1.0, 1.0, 1.0),
        (rs.option.global_time_enabled, 0.0, 1.0, 1.0, 0.0),
    ):
        limits = rs.option_range()
        limits.min, limits.max, limits.step, limits.default = low, high, step, default
        sensor.add_option(option, limits, True)
        sensor.set_option(option, default)
    return software.device, sensor


@pytest.mark.parametrize(
    ("model", "sensor_name", "steps"), [("D455", "RGB Camera", 80.0), ("D405", "Stereo Module", 8000.0)]
)
def test_exposure_is_fixed_on_the_sensor_that_has_the_colour(rs, model, sensor_name, steps):
    device, sensor = device_for(rs, model)
    assert color_sensor(rs, device).get_info(rs.camera_info.name) == sensor_name
    set_up_sensors(rs, device, spec=spec_for(model, exposure_us=8000, white_balance_k=4503))
    assert sensor.get_option(rs.option.enable_auto_exposure) == 0.0
    assert sensor.get_option(rs.option.exposure) == steps
    assert sensor.get_option(rs.option.enable_auto_white_balance) == 0.0
    assert sensor.get_option(rs.option.white_balance) == 4500.0  # the sensor's step is 10 K
    assert sensor.get_option(rs.option.auto_exposure_priority) == 0.0
    assert sensor.get_option(rs.option.global_time_enabled) == 1.0


def test_automatic_stays_automatic_where_the_site_says_nothing(rs):
    device, sensor = device_for(rs, "D455")
    set_up_sensors(rs, device, spec=spec_for("D455"))
    assert sensor.get_option(rs.option.enable_auto_exposure) == 1.0
    assert sensor.get_option(rs.option.enable_auto_white_balance) == 1.0


def test_exposure_out_of_range_is_named(rs):
    device, sensor = device_for(rs, "D455")
    limits = rs.option_range()
    limits.min, limits.max, limits.step, limits.default = 1.0, 50.0, 1.0, 1.0
    sensor.add_option(rs.option.exposure, limits, True)
    with pytest.raises(CameraError, match=r"exposure of RGB Camera = 80 is outside 1\.\.50"):
        set_up_sensors(rs, device, spec=spec_for("D455", exposure_us=8000))


def test_an_option_that_the_sensor_lacks_is_named(rs):
    device = build_synthetic(SyntheticDevice(model="D405", serial="1", width=128, height=96, fps=30)).device
    with pytest.raises(CameraError, match="white_balance of Stereo Module cannot be set"):
        set_up_sensors(rs, device, spec=spec_for("D405", white_balance_k=4500))


def test_profiles_and_model_are_checked_before_anything_starts(rs):
    device, _ = device_for(rs, "D405")
    check_device(rs, device, spec=spec_for("D405"))
    with pytest.raises(CameraError, match=r"no color 128x96@60; available: 128x96@30"):
        check_device(rs, device, spec=spec_for("D405", fps=60))
    with pytest.raises(CameraError, match="expects a D455"):
        check_device(rs, device, spec=spec_for("D455"))
