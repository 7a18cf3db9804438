"""The gripper's socket, the shared records, and clients that misbehave."""

import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.shared_block import SharedBlock
from mola_core.contracts.types import SafetyMode
from mola_twin.controller.gripper import ACTIVATION_S, AT_TARGET, MOVING, STOPPED_CLOSING, Gripper
from mola_twin.controller.robotiq import answer
from mola_twin.fault_client import FaultClient
from mola_twin.link import ARM_BLOCK, ARM_DTYPE, CELL_BLOCK, CELL_DTYPE

PATIENCE_S = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class GripperSocket:
    """A Robotiq client as the URCap's users write it."""

    def __init__(self, host: str) -> None:
        self._socket = socket.create_connection((host, 63352), timeout=10)

    def ask(self, line: str) -> str:
        self._socket.sendall(line.encode() + b"\n")
        return self._socket.recv(1024).decode()

    def get(self, name: str) -> int:
        word, value = self.ask(f"GET {name}").split()
        assert word == name
        return int(value)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def gripper(twin: Any) -> Iterator[GripperSocket]:
    """Activated."""
    client = GripperSocket(twin.host)
    assert client.ask("SET ACT 1") == "ack"
    wait_until(lambda: client.get("STA") == 3)
    yield client
    client.close()


@pytest.fixture
def cell(twin: Any) -> Iterator[Callable[..., None]]:
    """Plays the cell: each call writes one record."""
    with SharedBlock(twin.run_dir / CELL_BLOCK, CELL_DTYPE, create=True) as block:

        def write(*, opening: float, blocked: bool = False, force: float = 0.0) -> None:
            record = np.zeros((), CELL_DTYPE)
            record["stamp_ns"] = SystemClock().now_ns()
            record["gripper_opening"], record["gripper_blocked"], record["contact_force"] = opening, blocked, force
            block.write(record)

        yield write


def test_the_gripper_closes_and_opens_over_its_socket(gripper: GripperSocket) -> None:
    assert gripper.ask("SET POS 200 SPE 255 FOR 50 GTO 1") == "ack"
    assert gripper.get("PRE") == 200
    wait_until(lambda: gripper.get("OBJ") == AT_TARGET)
    assert abs(gripper.get("POS") - 200) <= 3
    assert gripper.ask("GET ACT\nGET STA\n".strip()) == "ACT 1\nSTA 3\n"
    assert gripper.ask("SET POS 999") == "?"
    assert gripper.ask("nonsense") == "?"


def test_a_stuck_gripper_never_arrives(gripper: GripperSocket, faults: FaultClient) -> None:
    faults.gripper_stuck()
    gripper.ask("SET POS 255 GTO 1")
    time.sleep(0.8)
    assert gripper.get("OBJ") == MOVING
    assert gripper.get("POS") == 0
    faults.gripper_stuck(on=False)
    wait_until(lambda: gripper.get("OBJ") == AT_TARGET)


def test_the_gripper_falls_silent_without_tool_power(gripper: GripperSocket, faults: FaultClient) -> None:
    faults.power_off()
    assert gripper.ask("GET POS") == "POS ?\n"


def test_activation_takes_its_time_and_motion_waits_for_it() -> None:
    gripper = Gripper(opening=0.5)
    answer(gripper, "SET ACT 1 POS 255 GTO 1")
    gripper.step(ACTIVATION_S / 2, seen=None)
    assert answer(gripper, "GET STA") == b"STA 1\n"
    assert answer(gripper, "GET FLT") == b"FLT 5\n"
    for _ in range(2000):
        gripper.step(0.002, seen=None)
    assert answer(gripper, "GET STA") == b"STA 3\n"
    assert gripper.opening == pytest.approx(0.0)


def test_the_slowest_speed_is_slower() -> None:
    def seconds(speed: int) -> float:
        gripper = Gripper(activated=True, go_to=True, speed=speed, position_request=255)
        steps = 0
        while gripper.object_status != AT_TARGET:
            gripper.step(0.002, seen=None)
            steps += 1
        return steps * 0.002

    assert seconds(255) == pytest.approx(85 / 150, rel=0.05)
    assert seconds(0) == pytest.approx(85 / 20, rel=0.05)


def test_with_a_cell_the_fingers_are_the_cell_s(twin: Any, gripper: GripperSocket, cell: Callable[..., None]) -> None:
    gripper.ask("SET POS 255 GTO 1")

    def blocked_at_half() -> bool:
        cell(opening=0.5, blocked=True)
        return gripper.get("OBJ") == STOPPED_CLOSING and abs(gripper.get("POS") - 128) <= 1

    wait_until(blocked_at_half)
    with SharedBlock(twin.run_dir / ARM_BLOCK, ARM_DTYPE, create=False) as arm:
        record = arm.read()
    assert record["gripper_target"] == 0.0
    assert record["stamp_ns"] > 0


def test_a_collision_in_the_cell_protective_stops(faults: FaultClient, cell: Callable[..., None]) -> None:
    def stopped() -> bool:
        cell(opening=1.0, force=400.0)
        return faults.status().safety_mode is SafetyMode.PROTECTIVE_STOP

    wait_until(stopped)
    assert "400 N" in faults.status().raw["safety_popup"]


def test_camera_faults_reach_the_shared_record(twin: Any, faults: FaultClient) -> None:
    with SharedBlock(twin.run_dir / ARM_BLOCK, ARM_DTYPE, create=False) as arm:
        faults.drop_camera("wrist")
        wait_until(lambda: int(arm.read()["camera_drop"]) == 2)
        faults.drop_camera("third_person")
        wait_until(lambda: int(arm.read()["camera_drop"]) == 3)
        faults.drop_camera("wrist", on=False)
        wait_until(lambda: int(arm.read()["camera_drop"]) == 1)
    assert faults.status().faults == ["camera_drop:third_person"]


def test_a_slow_link_delays_each_direction(gripper: GripperSocket, faults: FaultClient) -> None:
    faults.slow_link(delay_ms=60.0)
    began = time.monotonic()
    gripper.get("POS")
    assert time.monotonic() - began >= 0.12
    faults.slow_link(on=False)
    assert faults.status().faults == []


def test_garbage_on_any_port_leaves_the_controller_standing(twin: Any, faults: FaultClient) -> None:
    chance = random.Random(7)
    for port in (30004, 30003, 29999, 63352, 30152):
        for length in (1, 3, 50, 5000):
            with socket.create_connection((twin.host, port), timeout=10) as sock:
                sock.sendall(chance.randbytes(length) + b"\n")
    for frame in (b"\x00\x00U", b"\x00\x03U", b"\x00\x04U\x09", b"\x00\x03V", b"\x00\x03O", b"\x00\x05I\xff\xff"):
        with socket.create_connection((twin.host, 30004), timeout=10) as sock:
            sock.sendall(frame)
    wait_until(lambda: sum(faults.status().clients.values()) == 1)
    assert twin.process.poll() is None


def test_unknown_rtde_names_are_refused_by_name(twin: Any) -> None:
    with socket.create_connection((twin.host, 30004), timeout=10) as sock:
        names = b"timestamp,actual_rain,"
        sock.sendall(struct.pack(">HBd", 11 + len(names), ord("O"), 500.0) + names)
        assert sock.recv(1024)[3:] == b"\x00DOUBLE,NOT_FOUND"


def test_a_client_that_never_reads_does_not_hold_up_the_others(twin: Any, faults: FaultClient) -> None:
    names = b"timestamp," + b"".join(b"output_double_register_%d," % index for index in range(48))
    with socket.create_connection((twin.host, 30004), timeout=10) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.sendall(struct.pack(">HBd", 11 + len(names), ord("O"), 500.0) + names + struct.pack(">HB", 3, ord("S")))
        before = faults.status().raw["time_s"]
        wait_until(lambda: faults.status().raw["time_s"] > before + 3.0)
        assert faults.status().clients["rtde"] == 1
