"""The cell process from outside: frames by its protocol, the world by its client, the arm by its shared record."""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.errors import ConfigError, DeviceError
from mola_core.contracts.shared_block import SharedBlock
from mola_core.control.kinematics import inverse_kinematics
from mola_twin.cell import layout, optics
from mola_twin.link import ARM_BLOCK, ARM_DTYPE, CELL_BLOCK, CELL_DTYPE
from mola_twin.tasks.instructions import TASKS
from mola_twin.tasks.start import sample_start
from mola_twin.tasks.variants import VARIANTS
from mola_twin.world_client import WorldClient

HOST = "127.0.1.90"
WATCHDOG_S = 60.0
TICK_S = 0.002


class Controller:
    """Stands in for the controller process: writes the arm's record at about 500 Hz."""

    def __init__(self, run_dir: Path) -> None:
        self.record = np.zeros((), ARM_DTYPE)
        self.record["joint_positions"] = layout.HOME_JOINTS
        self.record["gripper_target"] = 1.0
        self.record["gripper_speed"] = 1.0
        self.block = SharedBlock(run_dir / ARM_BLOCK, ARM_DTYPE, create=True)
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        begin = time.monotonic()
        while not self.closing.wait(0.004):
            self.record["time_s"] = round((time.monotonic() - begin) / TICK_S) * TICK_S
            self.block.write(self.record)

    def close(self) -> None:
        self.closing.set()
        self.thread.join()
        self.block.close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twin")


@pytest.fixture(scope="module")
def controller(run_dir: Path) -> Iterator[Controller]:
    controller = Controller(run_dir)
    yield controller
    controller.close()


@pytest.fixture(scope="module")
def cell(run_dir: Path, controller: Controller) -> Iterator[None]:
    command = [sys.executable, "-m", "mola_twin.cell.process", "--host", HOST, "--run-dir", str(run_dir)]
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: answers() or process.poll() is not None)
        assert process.poll() is None
        yield
        process.terminate()
        assert process.wait(timeout=WATCHDOG_S) == 0
        assert not (run_dir / CELL_BLOCK).exists()
    finally:
        process.kill()


@pytest.fixture
def world(cell: None) -> Iterator[WorldClient]:
    with WorldClient(HOST) as client:
        yield client


def answers() -> bool:
    try:
        for port in (30150, 30151):
            socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + WATCHDOG_S
    while not condition():
        assert time.monotonic() < deadline, "watchdog"
        time.sleep(0.02)


class CameraClient:
    """Reads the protocol byte by byte, as its description says."""

    def __init__(self, **request: Any) -> None:
        self.socket = socket.create_connection((HOST, 30150), timeout=WATCHDOG_S)
        self.stream = self.socket.makefile("rb")
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        self.answer = json.loads(self.stream.readline())

    def frame(self) -> tuple[dict[str, int], bytes, bytes]:
        (length,) = struct.unpack(">I", self.stream.read(4))
        header = json.loads(self.stream.read(length))
        return header, self.stream.read(header["color_bytes"]), self.stream.read(header["depth_bytes"])

    def read_until_silent(self) -> None:
        """Raises TimeoutError at the first gap."""
        while True:
            self.frame()

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.mark.parametrize(("camera", "model"), [("third_person", "D455"), ("wrist", "D405")])
def test_camera_describes_itself_and_sends_frames(cell: None, camera: str, model: str) -> None:
    client = CameraClient(camera=camera, width=212, height=120, fps=30, depth=True)
    assert client.answer["model"] == model
    assert client.answer["serial"] == f"TWIN-{model}"
    assert client.answer["depth_unit_m"] == optics.MODELS[model].depth_unit_m
    assert client.answer["color_from_depth"] == np.eye(4).tolist()
    view = optics.intrinsics(model=model, width=212, height=120)
    for stream in ("color", "depth"):
        assert client.answer[stream]["fx"] == view.fx
        assert client.answer[stream]["width"] == 212
    headers = []
    for _ in range(5):
        header, color, depth = client.frame()
        headers.append(header)
        assert len(color) == 212 * 120 * 3
        assert len(depth) == 212 * 120 * 2
    metres = np.frombuffer(depth, "<u2").reshape(120, 212) * client.answer["depth_unit_m"]
    assert 0.15 < np.median(metres[metres > 0]) < 1.5
    assert np.ptp(np.frombuffer(color, np.uint8)) > 100
    sequences = [header["sequence"] for header in headers]
    assert sequences == sorted(set(sequences))
    stamps = [header["stamp_ns"] for header in headers]
    assert stamps == sorted(set(stamps))
    assert abs(stamps[-1] - time.time_ns()) < WATCHDOG_S * 1e9  # stamps are of the epoch
    client.close()


def test_no_depth_where_none_was_asked_for(cell: None) -> None:
    client = CameraClient(camera="wrist", width=64, height=48, fps=30, depth=False)
    header, color, depth = client.frame()
    assert client.answer["depth"] is None
    assert header["depth_bytes"] == 0
    assert depth == b""
    assert len(color) == 64 * 48 * 3
    client.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"camera": "ceiling"}, "third_person, wrist"),
        ({"width": 5000}, "5000x48"),
        ({"fps": 0}, "fps 0"),
        ({"colour": True}, "colour"),
        ({"width": "wide"}, "'wide'"),
    ],
)
def test_bad_camera_request_is_refused_with_the_reason(cell: None, change: dict[str, Any], named: str) -> None:
    request = {"camera": "wrist", "width": 64, "height": 48, "fps": 30, "depth": False} | change
    client = CameraClient(**request)
    assert named in client.answer["error"]
    client.close()


def test_slow_reader_gets_the_newest_frame(cell: None) -> None:
    client = CameraClient(camera="wrist", width=424, height=240, fps=60, depth=True)
    first, _, _ = client.frame()
    time.sleep(2.0)
    asked_ns = time.time_ns()  # stamps are of the epoch
    # what the sockets had buffered by then is old; the frame after it must be new, not the next of a backlog
    headers = [client.frame()[0] for _ in range(40)]
    assert headers[0]["sequence"] > first["sequence"]
    assert any(header["stamp_ns"] > asked_ns - 500_000_000 for header in headers)
    assert headers[-1]["sequence"] - first["sequence"] > 41, "frames in between were dropped"
    client.close()


def test_dropped_camera_falls_silent_and_comes_back(cell: None, controller: Controller) -> None:
    wrist = CameraClient(camera="wrist", width=64, height=48, fps=30, depth=False)
    other = CameraClient(camera="third_person", width=64, height=48, fps=30, depth=False)
    wrist.frame()
    controller.record["camera_drop"] = 0b10
    wrist.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        wrist.read_until_silent()
    other.frame()
    controller.record["camera_drop"] = 0
    wrist.close()
    again = CameraClient(camera="wrist", width=64, height=48, fps=30, depth=False)
    again.frame()
    again.close()
    other.close()


def test_world_knows_tasks_and_variants(world: WorldClient) -> None:
    assert list(world.tasks()) == list(TASKS)
    assert world.tasks()["grab_bowl"]["train"] == list(TASKS["grab_bowl"].train)
    assert tuple(world.variants()) == VARIANTS


def test_reset_puts_objects_and_truth_says_where(world: WorldClient) -> None:
    start = world.reset(task="stack_blocks", seed=17, variant="distractors")
    expected = sample_start(task="stack_blocks", seed=17, variant="distractors")
    assert start.instruction == expected.instruction
    truth = world.truth()
    for name, pose in expected.placement.poses.items():
        np.testing.assert_allclose(truth.objects[name].position[:2], (pose.x, pose.y), atol=2e-3)
    assert truth.task == "stack_blocks"
    wait_for(lambda: world.success().conditions)
    assert not world.success().done
    np.testing.assert_allclose(truth.base_from_tcp[:3, 3], layout.HOME_TCP, atol=1e-3)


def test_refusals_of_the_world_name_what_it_knows(world: WorldClient) -> None:
    with pytest.raises(ConfigError, match=r"'fly' is not known.*press_button"):
        world.reset(task="fly", seed=0)
    with pytest.raises(ConfigError, match=r"'fog' is not known.*lighting"):
        world.reset(task="grab_bowl", seed=0, variant="fog")
    assert world.truth().elapsed_s >= 0.0, "the connection survives a refusal"
    with pytest.raises(DeviceError, match=r"127\.0\.1\.91:30151"), WorldClient("127.0.1.91") as nobody:
        nobody.tasks()


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b'{"op": "explode"}\n', b'{"op": "reset", "task": 3}\n'])
def test_malformed_world_requests_get_an_error_line(cell: None, line: bytes) -> None:
    with socket.create_connection((HOST, 30151), timeout=WATCHDOG_S) as connection:
        connection.sendall(line)
        assert "error" in json.loads(connection.makefile("rb").readline())


def test_arm_follows_the_controller_and_blocks_a_reset(world: WorldClient, controller: Controller) -> None:
    bottle = sample_start(task="grab_bowl", seed=3).placement.poses["bottle"]
    base_from_tcp = layout.top_down(np.array([bottle.x, bottle.y, 0.05]), 0.0)
    joints = inverse_kinematics(
        base_from_tcp @ np.linalg.inv(layout.flange_from_tcp()),
        near=layout.HOME_JOINTS,
        position_min=[-6.2] * 6,
        position_max=[6.2] * 6,
    )
    try:
        controller.record["gripper_target"] = 0.0
        controller.record["joint_positions"] = joints
        wait_for(lambda: np.abs(world.truth().base_from_tcp - base_from_tcp).max() < 1e-3)
        with pytest.raises(ConfigError, match="in the way of"):
            world.reset(task="grab_bowl", seed=3)
    finally:
        controller.record["joint_positions"] = layout.HOME_JOINTS
        controller.record["gripper_target"] = 1.0
    wait_for(lambda: abs(world.truth().base_from_tcp[2, 3] - layout.HOME_TCP[2]) < 1e-3)
    world.reset(task="grab_bowl", seed=3)


def test_gripper_is_reported_through_the_cells_record(cell: None, controller: Controller, run_dir: Path) -> None:
    block = SharedBlock(run_dir / CELL_BLOCK, CELL_DTYPE, create=False)
    controller.record["gripper_target"] = 0.3
    wait_for(lambda: abs(float(block.read()["gripper_opening"]) - 0.3) < 0.03)
    controller.record["gripper_stuck"] = 1
    controller.record["gripper_target"] = 1.0
    wait_for(lambda: block.read()["gripper_blocked"])
    assert abs(float(block.read()["gripper_opening"]) - 0.3) < 0.05
    controller.record["gripper_stuck"] = 0
    wait_for(lambda: float(block.read()["gripper_opening"]) > 0.95)
    block.close()
