"""What every camera must do, whatever delivers its frames."""

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import CameraSpec, RealsenseCameraSpec, RecordedCameraSpec, TwinCameraSpec
from mola_drivers.camera.factory import make_camera
from mola_drivers.camera.protocol import Camera

WATCHDOG_MS = 60_000  # librealsense's player stalls for some 10 s now and then, see RecordedSource
COMMON = {"model": "D405", "width": 128, "height": 96, "fps": 30, "tcp_from_camera": (0.0,) * 6}


def camera_for(spec: CameraSpec) -> Camera:
    return make_camera(name="wrist", spec=spec, clock=SystemClock())


@pytest.fixture(params=["recorded", "repeated", "served", "twin"])
def camera(request: pytest.FixtureRequest) -> Camera:
    """A closed camera with at least ten frames to give, in real time."""
    if request.param == "twin":
        host = request.getfixturevalue("twin_cell").host
        return camera_for(TwinCameraSpec.model_validate(COMMON | {"source": "twin", "host": host}))
    if request.param == "served":
        server = request.getfixturevalue("frame_server")
        return camera_for(
            TwinCameraSpec.model_validate(COMMON | {"source": "twin", "host": server.HOST, "port": server.port})
        )
    path = request.getfixturevalue("record")(model="D405", num_frames=12, clock=SystemClock())
    values = COMMON | {"source": "recorded", "path": path, "repeat": request.param == "repeated"}
    return camera_for(RecordedCameraSpec.model_validate(values))


def test_constructor_touches_nothing(camera):
    with pytest.raises(CameraError, match="not open"):
        _ = camera.info
    with pytest.raises(CameraError, match="not open"):
        camera.read(timeout_ms=1)


def test_says_what_it_is(camera):
    with camera:
        info = camera.info
    assert info.name == "wrist"
    assert "D405" in info.model
    assert info.serial
    assert (info.color.width, info.color.height) == (128, 96)
    assert info.color.fx > 0
    assert info.depth is not None
    assert info.color_from_depth.shape == (4, 4)
    assert info.depth_unit_m == pytest.approx(0.0001)


def test_frames_are_new_complete_and_stamped(camera):
    with camera:
        frames = [camera.read(timeout_ms=WATCHDOG_MS) for _ in range(5)]
    for frame in frames:
        assert frame.color.shape == (96, 128, 3)
        assert frame.color.dtype == np.uint8
        assert frame.depth is not None
        assert frame.depth.shape == (96, 128)
        assert frame.depth.dtype == np.uint16
        assert frame.stamp_ns <= frame.received_ns <= SystemClock().now_ns()
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))
    assert len({frame.sequence for frame in frames}) == len(frames)


def test_frames_belong_to_the_reader(camera):
    """What was read stays as it is while the device reuses its buffers."""
    with camera:
        first = camera.read(timeout_ms=WATCHDOG_MS)
        copy = first.color.copy()
        for _ in range(4):
            camera.read(timeout_ms=WATCHDOG_MS)
        np.testing.assert_array_equal(first.color, copy)


def test_opens_again_after_closing(camera):
    for _ in range(2):
        with camera:
            camera.read(timeout_ms=WATCHDOG_MS)
        with pytest.raises(CameraError, match="not open"):
            camera.read(timeout_ms=1)


def test_absent_camera_is_named_with_those_that_are_there():
    clock = SystemClock()
    spec = RealsenseCameraSpec.model_validate(COMMON | {"source": "realsense", "serial": "000000000000"})
    start_ns = clock.monotonic_ns()
    with pytest.raises(CameraError, match=r"no RealSense camera with serial '000000000000'; connected: "):
        camera_for(spec).__enter__()
    # librealsense itself would wait 15 s for the camera, with the GIL held
    assert clock.monotonic_ns() - start_ns < 10 * NS_PER_S
