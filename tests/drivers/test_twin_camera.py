"""The twin's frame protocol, and what its client does when the other side breaks it."""

import json

import pytest

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import TwinCameraSpec
from mola_core.contracts.types import StampDomain
from mola_drivers.camera.twin_camera import TwinCamera

WATCHDOG_MS = 10_000


def camera_at(host: str, port: int, **changes: object) -> TwinCamera:
    values = {"source": "twin", "host": host, "port": port, "model": "D405", "width": 64, "height": 48, "fps": 60}
    spec = TwinCameraSpec.model_validate(values | {"tcp_from_camera": (0.0,) * 6} | changes)
    return TwinCamera(name="wrist", spec=spec, clock=SystemClock())


def test_asks_for_what_the_site_says(frame_server):
    with camera_at(frame_server.HOST, frame_server.port) as camera:
        frame = camera.read(timeout_ms=WATCHDOG_MS)
        info = camera.info
    assert frame_server.requests == [{"camera": "wrist", "width": 64, "height": 48, "fps": 60, "depth": True}]
    assert info.color.distortion == (0.1, 0.0, 0.0, 0.0, 0.2)
    assert (info.color.fx, info.color.fy, info.serial) == (100.0, 101.0, "twin-wrist")
    assert frame.stamp_domain is StampDomain.HOST_EPOCH
    assert (frame.depth == 432).all()  # counts of 0.1 mm
    assert (frame.color == frame.sequence % 256).all()


def test_without_depth(frame_server):
    with camera_at(frame_server.HOST, frame_server.port, depth=False) as camera:
        assert camera.info.depth is None
        assert camera.read(timeout_ms=WATCHDOG_MS).depth is None


def test_a_late_reader_gets_the_newest_frame(frame_server):
    clock = SystemClock()
    with camera_at(frame_server.HOST, frame_server.port) as camera:
        camera.read(timeout_ms=WATCHDOG_MS)
        clock.sleep_until(clock.monotonic_ns() + 400_000_000)
        asked_ns = clock.now_ns()
        frame = camera.read(timeout_ms=WATCHDOG_MS)
    assert asked_ns - frame.stamp_ns < 300_000_000


def test_silence_is_an_error_and_closes_the_connection(frame_server):
    with camera_at(frame_server.HOST, frame_server.port) as camera:
        camera.read(timeout_ms=WATCHDOG_MS)
        frame_server.paused.set()
        with pytest.raises(CameraError, match="lost: nothing new for 100 ms"):  # noqa: PT012 (what was on its way still arrives)
            for _ in range(10):
                camera.read(timeout_ms=100)
        with pytest.raises(CameraError, match="not open"):
            camera.read(timeout_ms=100)


def test_the_same_frame_again_is_no_frame(frame_server):
    with camera_at(frame_server.HOST, frame_server.port) as camera:
        camera.read(timeout_ms=WATCHDOG_MS)
        frame_server.frozen_stamps.set()
        with pytest.raises(CameraError, match="nothing new"):  # noqa: PT012 (what was on its way still arrives)
            for _ in range(10):
                camera.read(timeout_ms=200)


def test_hanging_up_is_named(frame_server):
    with camera_at(frame_server.HOST, frame_server.port) as camera:
        camera.read(timeout_ms=WATCHDOG_MS)
        frame_server.drop()
        with pytest.raises(CameraError, match="lost"):  # noqa: PT012 (what was on its way still arrives)
            for _ in range(10):
                camera.read(timeout_ms=WATCHDOG_MS)


def test_refusal_carries_the_twins_reason(frame_server):
    frame_server.info_line = json.dumps({"error": "no camera 'wrist'"}).encode() + b"\n"
    with pytest.raises(CameraError, match="refuses camera 'wrist': no camera 'wrist'"):
        camera_at(frame_server.HOST, frame_server.port).__enter__()


@pytest.mark.parametrize(
    "line", [b"SSH-2.0-OpenSSH\n", b"{}\n", b"[]\n", b'{"model": "D405", "serial": "1", "color": 3}\n']
)
def test_another_protocol_is_named(frame_server, line):
    frame_server.info_line = line
    with pytest.raises(CameraError, match="does not speak the twin's camera protocol"):
        camera_at(frame_server.HOST, frame_server.port).__enter__()


def test_nobody_there_is_named():
    with pytest.raises(CameraError, match=r"127\.0\.1\.25:30150 do not answer .* mola twin serve"):
        camera_at("127.0.1.25", 30150).__enter__()
