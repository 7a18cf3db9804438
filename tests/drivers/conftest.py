"""Shared by the driver tests: recordings of synthetic RealSense devices, and the twin's controller process."""

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from mola_drivers.arm.dashboard import Dashboard
from mola_drivers.arm.preflight import unlock_protective_stop
from mola_drivers.camera.synthetic import SyntheticDevice, SyntheticFrame, record_synthetic

START_MS = 1_750_000_000_000.0
PERIOD_MS = 33.25  # exact in the doubles that librealsense keeps
WIDTH, HEIGHT, FPS = 128, 96, 30
DEPTH_MM = 700


def synthetic_frame(
    number: int, *, counts_per_mm: int, depth_skew_ms: float = 1.0, period_ms: float = PERIOD_MS
) -> SyntheticFrame:
    """Frame ``number`` (from 0): a colour gradient that tells x from y and from the frame, and a flat wall."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    color = np.stack([columns, rows, np.full_like(rows, number)], axis=-1).astype(np.uint8)
    depth = np.full((HEIGHT, WIDTH), (DEPTH_MM + number) * counts_per_mm, dtype=np.uint16)
    color_ms = START_MS + number * period_ms
    return SyntheticFrame(color=color, depth=depth, color_ms=color_ms, depth_ms=color_ms + depth_skew_ms)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """``record(model=…, num_frames=…)`` writes a recording and returns its path."""

    def write(
        *,
        model: str = "D455",
        num_frames: int = 12,
        global_time: bool = True,
        clock: Clock | None = None,
        **timing: float,
    ) -> Path:
        path = tmp_path / f"{model}_{num_frames}.db3"
        counts_per_mm = 10 if model == "D405" else 1
        device = SyntheticDevice(
            model=model, serial="244622072067", width=WIDTH, height=HEIGHT, fps=FPS, global_time=global_time
        )
        frames: Iterator[SyntheticFrame] = (
            synthetic_frame(number, counts_per_mm=counts_per_mm, **timing) for number in range(num_frames)
        )
        record_synthetic(path, device=device, frames=frames, clock=clock)
        return path

    return write


class FaultChannel:
    """The twin's door for faults: one JSON object a line."""

    def __init__(self, host: str) -> None:
        self._connection = socket.create_connection((host, 30152), timeout=10.0)
        self._lines = self._connection.makefile("rb")

    def ask(self, **request: object) -> dict[str, Any]:
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._lines.readline())
        assert answer["ok"], answer
        return answer

    def fault(self, name: str, *, on: bool = True, **fields: object) -> None:
        self.ask(op="fault", name=name, on=on, **fields)

    def status(self) -> dict[str, Any]:
        return self.ask(op="status")

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


@dataclass(frozen=True)
class TwinController:
    """A controller process of the twin, of this test session's own."""

    host: str
    faults: FaultChannel
    run_dir: Path
    process: subprocess.Popen[str]

    def dashboard(self, *commands: str) -> list[str]:
        with Dashboard(host=self.host) as dashboard:
            return [dashboard.ask(command) for command in commands]

    def make_well(self) -> None:
        """Undo whatever a test has done to it."""
        assert self.process.poll() is None, f"the controller process ended with {self.process.returncode}"
        for name in ("silent_link", "slow_link", "local_mode", "emergency_stop", "safeguard_stop", "gripper_stuck"):
            self.faults.fault(name, on=False)
        if self.faults.status()["safety_mode"] == "PROTECTIVE_STOP":
            unlock_protective_stop(host=self.host, clock=SystemClock())
        if self.faults.status()["robot_mode"] != "RUNNING":
            self.dashboard("power on", "brake release")
            wait_until(lambda: self.faults.status()["robot_mode"] == "RUNNING", "the robot to power on")


def wait_until(condition: Callable[[], bool], what: str, *, limit_s: float = 20.0) -> None:
    """Poll ``condition``; fails the test if it does not come true."""
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + round(limit_s * NS_PER_S)
    while not condition():
        assert clock.monotonic_ns() < deadline_ns, f"waited {limit_s:g} s for {what}"
        clock.sleep_until(clock.monotonic_ns() + 5 * NS_PER_MS)


@pytest.fixture(scope="session")
def twin_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinController]:
    host = "127.0.1.21"
    run_dir = tmp_path_factory.mktemp("twin")
    command = [sys.executable, "-m", "mola_twin.controller.process", "--host", host, "--run-dir", str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
            faults = FaultChannel(host)
            yield TwinController(host=host, faults=faults, run_dir=run_dir, process=process)
            faults.close()
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def twin(twin_process: TwinController) -> Iterator[TwinController]:
    yield twin_process
    twin_process.make_well()


@pytest.fixture(scope="module")
def twin_cell(twin_process: TwinController) -> Iterator[TwinController]:
    """The controller with the twin's cell, and so its cameras, behind it."""
    command = [sys.executable, "-m", "mola_twin.cell.process", "--host", twin_process.host]
    with subprocess.Popen([*command, "--run-dir", str(twin_process.run_dir)]) as process:

        def answers() -> bool:
            assert process.poll() is None, "the cell process ended"
            with socket.socket() as connection:
                return connection.connect_ex((twin_process.host, 30150)) == 0

        try:
            wait_until(answers, "the cell to answer", limit_s=60.0)
            yield twin_process
        finally:
            process.terminate()
            process.wait(timeout=20)


class FrameServer:
    """The twin's frame protocol on a socket of its own, delivering what the test tells it to."""

    HOST = "127.0.1.24"

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.info_line: bytes | None = None
        """Sent instead of the right answer."""
        self.paused = threading.Event()
        self.refuse = threading.Event()
        self.frozen_stamps = threading.Event()
        self._stopping = threading.Event()
        self._connections: list[socket.socket] = []
        self._sequence = 0
        self._listener = socket.create_server((self.HOST, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Hang up on everyone."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def close(self) -> None:
        self._stopping.set()
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse.is_set():
                connection.close()
                continue
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            request = json.loads(lines.readline())
            self.requests.append(request)
            connection.sendall(self.info_line or json.dumps(self._info(request)).encode() + b"\n")
            while not self._stopping.wait(1.0 / request["fps"]):
                if not self.paused.is_set():
                    connection.sendall(self._frame(request))

    def _info(self, request: dict[str, Any]) -> dict[str, Any]:
        width, height = request["width"], request["height"]
        lens = {"width": width, "height": height, "fx": 100.0, "fy": 101.0, "cx": width / 2, "cy": height / 2}
        lens["distortion"] = [0.1, 0.0, 0.0, 0.0, 0.2]
        return {
            "model": "D405",
            "serial": "twin-wrist",
            "color": lens,
            "depth": lens if request["depth"] else None,
            "color_from_depth": np.eye(4).tolist(),
            "depth_unit_m": 0.0001,
        }

    def _frame(self, request: dict[str, Any]) -> bytes:
        if not self.frozen_stamps.is_set():
            self._sequence += 1
            self._stamp_ns = SystemClock().now_ns()
        shape = (request["height"], request["width"])
        color = np.full((*shape, 3), self._sequence % 256, np.uint8).tobytes()
        depth = np.full(shape, 4321, "<u2").tobytes() if request["depth"] else b""
        header = {"stamp_ns": self._stamp_ns, "sequence": self._sequence}
        text = json.dumps(header | {"color_bytes": len(color), "depth_bytes": len(depth)}).encode()
        return struct.pack(">I", len(text)) + text + color + depth


@pytest.fixture
def frame_server() -> Iterator[FrameServer]:
    server = FrameServer()
    yield server
    server.close()
