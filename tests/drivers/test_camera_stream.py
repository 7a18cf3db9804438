"""A stream loses its camera, finds it again, and never shows a frame twice."""

import threading

import pytest

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import RecordedCameraSpec, TwinCameraSpec
from mola_drivers.backoff import Backoff
from mola_drivers.camera.factory import make_camera, make_camera_stream
from mola_drivers.camera.protocol import CameraHungError
from mola_drivers.camera.stream import CameraStream
from mola_drivers.camera.twin_camera import TwinCamera

COMMON = {"model": "D405", "width": 64, "height": 48, "fps": 60, "tcp_from_camera": (0.0,) * 6}


def stream_at(host: str, port: int) -> CameraStream:
    spec = TwinCameraSpec.model_validate(COMMON | {"source": "twin", "host": host, "port": port})
    clock = SystemClock()
    return CameraStream(
        open_camera=lambda: make_camera(name="wrist", spec=spec, clock=clock),
        frame_timeout_ms=150,
        clock=clock,
        backoff=Backoff(initial_s=0.01, longest_s=0.1),
    )


@pytest.fixture
def stream(frame_server):
    return stream_at(frame_server.HOST, frame_server.port)


@pytest.fixture
def stop():
    """Set by a watchdog, so that a stream which never recovers fails its test instead of hanging it."""
    event = threading.Event()
    timer = threading.Timer(30.0, event.set)
    timer.start()
    yield event
    timer.cancel()


def take(frames, count):
    taken = [frame for _, frame in zip(range(count), frames, strict=False)]
    assert len(taken) == count, "the watchdog stopped the stream"
    return taken


def test_counts_what_it_delivers(stream, stop):
    with stream:
        assert stream.info.serial == "twin-wrist"
        frames = take(stream.frames(stop), 12)
        health = stream.health
    assert health.connected
    assert (health.num_frames, health.num_reconnects, health.last_error) == (12, 0, "")
    assert health.rate_hz > 1.0
    assert health.last_stamp_ns == frames[-1].stamp_ns
    assert not stream.health.connected


@pytest.mark.parametrize("loss", ["silence", "hang-up"])
def test_a_lost_camera_comes_back_and_no_frame_twice(frame_server, stream, stop, loss):
    with stream:
        frames = stream.frames(stop)
        before = take(frames, 5)
        if loss == "hang-up":
            frame_server.drop()
        else:
            frame_server.paused.set()
            threading.Timer(0.6, frame_server.paused.clear).start()
        after = take(frames, 30)
        health = stream.health
    stamps = [frame.stamp_ns for frame in before + after]
    assert stamps == sorted(set(stamps))
    assert health.num_reconnects >= 1
    assert "lost" in health.last_error
    assert health.connected


def test_a_camera_that_the_twin_drops_comes_back(twin_cell, stop):
    with stream_at(twin_cell.host, 30150) as stream:
        frames = stream.frames(stop)
        before = take(frames, 5)
        twin_cell.faults.fault("camera_drop", camera="wrist")
        timer = threading.Timer(1.0, lambda: twin_cell.faults.fault("camera_drop", camera="wrist", on=False))
        timer.start()
        after = take(frames, 20)
        timer.join()
        health = stream.health
    stamps = [frame.stamp_ns for frame in before + after]
    assert stamps == sorted(set(stamps))
    assert health.num_reconnects >= 1


def test_frozen_stamps_are_a_loss(frame_server, stream, stop):
    with stream:
        frames = stream.frames(stop)
        take(frames, 3)
        frame_server.frozen_stamps.set()
        threading.Timer(0.6, frame_server.frozen_stamps.clear).start()
        after = take(frames, 15)
        assert stream.health.num_reconnects >= 1
    stamps = [frame.stamp_ns for frame in after]
    assert stamps == sorted(set(stamps))


def test_dropped_frames_are_counted(stream, stop):
    clock = SystemClock()
    with stream:
        frames = stream.frames(stop)
        take(frames, 2)
        clock.sleep_until(clock.monotonic_ns() + 300_000_000)
        take(frames, 3)
        assert stream.health.num_dropped >= 5


def test_first_opening_fails_loudly():
    with pytest.raises(CameraError, match="do not answer"):
        stream_at("127.0.1.25", 30150).__enter__()


def test_stop_ends_the_waiting_between_attempts(frame_server, stream, stop):
    with stream:
        frames = stream.frames(stop)
        take(frames, 1)
        frame_server.refuse.set()
        frame_server.drop()
        threading.Timer(0.3, stop.set).start()
        rest = list(frames)
    assert len(rest) < 10
    assert not stream.health.connected


def test_a_recording_ends_the_stream(record, stop):
    values = COMMON | {"source": "recorded", "path": record(model="D405", num_frames=5), "width": 128, "height": 96}
    spec = RecordedCameraSpec.model_validate(values | {"fps": 30})
    with make_camera_stream(name="wrist", spec=spec, clock=SystemClock()) as stream:
        frames = list(stream.frames(stop))
    assert 1 <= len(frames) <= 5
    assert "over" in stream.health.last_error
    assert not stop.is_set()


def test_a_hung_camera_is_not_tried_again(frame_server, stop):
    class HungCamera(TwinCamera):
        def read(self, *, timeout_ms):
            raise CameraHungError("end this process")

    spec = TwinCameraSpec.model_validate(
        COMMON | {"source": "twin", "host": frame_server.HOST, "port": frame_server.port}
    )
    clock = SystemClock()
    stream = CameraStream(
        open_camera=lambda: HungCamera(name="wrist", spec=spec, clock=clock), frame_timeout_ms=150, clock=clock
    )
    with stream, pytest.raises(CameraHungError):
        next(stream.frames(stop))
