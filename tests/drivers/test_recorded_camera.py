"""The real librealsense plays recordings of synthetic devices through the driver's own pipeline."""

from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, SystemClock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import RecordedCameraSpec
from mola_core.contracts.types import Frame, StampDomain
from mola_drivers.camera.pipeline_source import RecordedSource
from mola_drivers.camera.protocol import EndOfRecordingError
from mola_drivers.camera.realsense import RealsenseCamera

WATCHDOG_MS = 60_000  # librealsense's player stalls for some 10 s now and then, see RecordedSource
START_NS = 1_750_000_000_000 * NS_PER_MS
PERIOD_NS = 33_250_000


def spec_for(path: Path, **changes: object) -> RecordedCameraSpec:
    values = {"source": "recorded", "model": "D455", "width": 128, "height": 96, "fps": 30, "path": path}
    return RecordedCameraSpec.model_validate(values | {"base_from_camera": (0.0,) * 6} | changes)


def camera_for(spec: RecordedCameraSpec, *, real_time: bool = False) -> RealsenseCamera:
    source = RecordedSource(spec, real_time=real_time)
    return RealsenseCamera(name="third_person", spec=spec, source=source, clock=SystemClock())


def play(camera: RealsenseCamera) -> list[Frame]:
    frames = []
    with pytest.raises(EndOfRecordingError, match="over"):  # noqa: PT012 (playing is one act)
        while True:
            frames.append(camera.read(timeout_ms=WATCHDOG_MS))
    return frames


@pytest.mark.parametrize("model", ["D455", "D405"])
def test_every_frame_arrives_once_with_its_pixels_and_stamp(record, model):
    spec = spec_for(record(model=model, num_frames=12), model=model)
    with camera_for(spec) as camera:
        frames = play(camera)
    columns, rows = np.meshgrid(np.arange(128), np.arange(96))
    sequences = [frame.sequence for frame in frames]
    assert sequences == list(range(sequences[0], 13))
    # a busy machine may lose the beginning of a recording of two sensors, see RecordedSource
    assert model == "D455" or sequences[0] == 1
    for frame in frames:
        number = frame.sequence - 1
        assert frame.stamp_domain is StampDomain.HOST_EPOCH
        # librealsense keeps milliseconds in a double: a quarter of a microsecond at today's epoch
        assert abs(frame.stamp_ns - (START_NS + number * PERIOD_NS)) < 300
        assert frame.received_ns > frame.stamp_ns
        np.testing.assert_array_equal(frame.color, np.stack([columns, rows, np.full_like(rows, number)], axis=-1))


@pytest.mark.parametrize("model", ["D455", "D405"])
def test_depth_is_aligned_to_colour_and_in_millimetres(record, model):
    spec = spec_for(record(model=model, num_frames=5), model=model)
    with camera_for(spec) as camera:
        info = camera.info
        frames = play(camera)
    shift = info.color.fx * info.color_from_depth[0, 3] / 0.7  # pixels by which the depth view moves
    seen = np.arange(128) < 128 + shift - 2
    assert frames
    for frame in frames:
        number = frame.sequence - 1
        assert frame.depth is not None
        assert frame.depth.shape == (96, 128)
        assert frame.depth.dtype == np.uint16
        assert set(np.unique(frame.depth)) <= {0, 700 + number}
        assert (frame.depth[:, seen] == 700 + number).mean() > 0.9  # the library's rounding leaves a few lines open
        assert (frame.depth[:, 128 + int(shift) + 1 :] == 0).all()  # nothing invented where depth did not look


def test_info_is_what_the_device_says(record):
    spec = spec_for(record(model="D455"))
    with camera_for(spec) as camera:
        info = camera.info
    assert (info.name, info.model, info.serial) == ("third_person", "Intel RealSense D455", "244622072067")
    assert (info.color.width, info.color.height) == (128, 96)
    assert info.color.fx == pytest.approx(64.0)
    np.testing.assert_allclose(info.color_from_depth[:3, 3], (-0.059, 0.0, 0.0), atol=1e-6)
    assert info.depth_unit_m == pytest.approx(0.001)


def test_extrinsic_rotation_is_not_transposed(tmp_path):
    from mola_drivers.camera.synthetic import SyntheticDevice, SyntheticFrame, record_synthetic  # noqa: PLC0415

    quarter_turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    device = SyntheticDevice(
        model="D455", serial="1", width=128, height=96, fps=30, color_from_depth_rotation=quarter_turn
    )
    picture = SyntheticFrame(
        color=np.zeros((96, 128, 3), np.uint8), depth=np.zeros((96, 128), np.uint16), color_ms=1.0, depth_ms=1.0
    )
    record_synthetic(tmp_path / "turned.db3", device=device, frames=[picture])
    with camera_for(spec_for(tmp_path / "turned.db3")) as camera:
        np.testing.assert_allclose(camera.info.color_from_depth[:3, :3], quarter_turn, atol=1e-6)


def test_without_depth_no_depth_is_made_up(record):
    spec = spec_for(record(num_frames=3), depth=False)
    with camera_for(spec) as camera:
        assert camera.info.depth is None
        assert all(frame.depth is None for frame in play(camera))


def test_colour_goes_with_the_depth_nearest_in_time(record):
    spec = spec_for(record(num_frames=6, depth_skew_ms=20.0))
    with camera_for(spec) as camera:
        frames = play(camera)
    assert frames
    for frame in frames:
        # 13.25 ms from the depth before it, 20 ms from the depth recorded with it
        assert int(frame.depth.max()) - 700 == int(frame.color[0, 0, 2]) - 1


def test_a_pair_taken_far_apart_is_no_frame(record):
    spec = spec_for(record(num_frames=6, depth_skew_ms=30.0, period_ms=60.0))
    with camera_for(spec) as camera:
        assert play(camera) == []


def test_stamps_of_the_devices_own_clock_are_marked(record):
    spec = spec_for(record(num_frames=3, global_time=False))
    with camera_for(spec) as camera:
        assert {frame.stamp_domain for frame in play(camera)} == {StampDomain.HOST_RECEIVE}


def test_a_repeated_recording_stands_in_for_a_live_camera(record):
    clock = SystemClock()
    spec = spec_for(record(num_frames=6, clock=clock), repeat=True)
    with camera_for(spec, real_time=True) as camera:
        before_ns = clock.now_ns()
        frames = [camera.read(timeout_ms=WATCHDOG_MS) for _ in range(10)]
    assert {frame.stamp_domain for frame in frames} == {StampDomain.HOST_RECEIVE}
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))
    assert stamps[0] >= before_ns


def test_missing_recording_is_named(tmp_path):
    with pytest.raises(CameraError, match=r"nowhere\.db3 does not exist"):
        camera_for(spec_for(tmp_path / "nowhere.db3")).__enter__()


@pytest.mark.parametrize("kept_bytes", [0, 100, 5000])
def test_truncated_recording_is_refused(record, tmp_path, kept_bytes):
    whole = record(num_frames=2)
    path = tmp_path / "cut.db3"
    path.write_bytes(whole.read_bytes()[:kept_bytes])
    with pytest.raises(CameraError, match=r"cut\.db3"):
        camera_for(spec_for(path)).__enter__()


def test_resolution_that_the_camera_lacks_lists_what_it_has(record):
    spec = spec_for(record(num_frames=2), width=848, height=480)
    with pytest.raises(CameraError, match=r"no color 848x480@30; available: 128x96@30"):
        camera_for(spec).__enter__()


def test_wrong_model_is_refused(record):
    spec = spec_for(record(model="D405", num_frames=2), model="D455")
    with pytest.raises(CameraError, match=r"expects a D455, found Intel RealSense D405"):
        camera_for(spec).__enter__()


def test_a_closed_camera_says_so(record):
    camera = camera_for(spec_for(record(num_frames=2)))
    with pytest.raises(CameraError, match="not open"):
        camera.read(timeout_ms=1)
    with camera:
        pass
    with pytest.raises(CameraError, match="not open"):
        camera.read(timeout_ms=1)
