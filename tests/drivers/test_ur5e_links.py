"""A UR5e that cannot be reached, that goes silent, or whose link breaks.

A driver whose link is dead must not live on in this process (the library reconnects in a thread of its own), so those
tests run it in a process of their own, as the servo process does.
"""

import json
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import ArmError
from mola_core.contracts.site import ArmSpec
from mola_drivers.arm.factory import make_arm
from mola_drivers.arm.ports import DASHBOARD_PORT, RTDE_PORT
from mola_drivers.arm.protocol import Arm

SILENT_HOST = "127.0.1.23"
HALF_HOST = "127.0.1.24"
CLOSED_HOST = "127.0.1.25"


def arm_at(host: str) -> Arm:
    spec = ArmSpec(host=host, home=(0.0, -1.57, 1.57, -1.57, -1.57, 0.0), tcp_offset=(0.0,) * 6, payload_kg=1.0)
    return make_arm(spec=spec, clock=SystemClock())


def test_refused_connection_is_named():
    with pytest.raises(ArmError, match=rf"{CLOSED_HOST}:{DASHBOARD_PORT} refuses the connection"):
        arm_at(CLOSED_HOST).__enter__()


def test_unknown_host_is_named():
    with pytest.raises(ArmError, match=r"'no-such-arm\.invalid' is not a known name"):
        arm_at("no-such-arm.invalid").__enter__()


def test_a_controller_that_accepts_and_says_nothing_is_named():
    with socket.create_server((SILENT_HOST, DASHBOARD_PORT)), pytest.raises(ArmError, match="does not answer"):
        arm_at(SILENT_HOST).__enter__()


@pytest.fixture
def half_controller() -> Iterator[str]:
    """A dashboard that says that all is well, and an RTDE port that says nothing."""
    answers = {"is in remote control": "true", "robotmode": "Robotmode: RUNNING", "safetymode": "Safetymode: NORMAL"}

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw", newline="\n") as lines:
            print("Connected: Universal Robots Dashboard Server", file=lines, flush=True)
            for line in lines:
                print(answers[line.strip()], file=lines, flush=True)

    with ExitStack() as stack:
        dashboard = stack.enter_context(socket.create_server((HALF_HOST, DASHBOARD_PORT)))
        stack.enter_context(socket.create_server((HALF_HOST, RTDE_PORT)))
        threading.Thread(target=serve, args=(dashboard,), daemon=True).start()
        yield HALF_HOST


def test_a_silent_rtde_port_does_not_hang_the_library(half_controller):
    with pytest.raises(ArmError, match=rf"{HALF_HOST}:{RTDE_PORT} accepts but says nothing"):
        arm_at(half_controller).__enter__()


def test_the_arm_belongs_to_one_thread(twin):
    refused: list[Exception] = []

    def trespass() -> None:
        try:
            arm.servo(np.zeros(6))
        except ArmError as error:
            refused.append(error)

    with arm_at(twin.host) as arm:
        thread = threading.Thread(target=trespass)
        thread.start()
        thread.join()
    assert "belongs to the thread" in str(refused[0])


SERVO_LOOP = textwrap.dedent(
    """
    import json, os, sys
    import numpy as np
    from mola_core.contracts.clock import SystemClock
    from mola_core.contracts.errors import ArmError
    from mola_core.contracts.site import ArmSpec
    from mola_drivers.arm.protocol import ArmLinkError
    from mola_drivers.arm.ur5e import Ur5e

    host, mode, report_path = sys.argv[1:]
    spec = ArmSpec(host=host, home=(0.0, -1.57, 1.57, -1.57, -1.57, 0.0), tcp_offset=(0.0,) * 6, payload_kg=1.0)
    clock = SystemClock()
    arm = Ur5e(spec=spec, clock=clock).__enter__()
    start = arm.read().joint_positions
    try:
        for step in range(10_000):
            if step == 100:
                print("streaming", flush=True)
            arm.servo(start + 0.1 * np.sin(step / 500))
            clock.sleep_until(clock.monotonic_ns() + 2_000_000)
        report = {"error": None}
    except ArmError as error:
        alive = arm.is_alive
        report = {"error": str(error), "is_link_error": isinstance(error, ArmLinkError), "alive": alive}
        if mode == "exit":
            arm.__exit__(None, None, None)
            report["exited"] = True
    # the library writes to stdout when it pleases
    with open(report_path, "w") as file:
        json.dump(report, file)
    os._exit(0)
    """
)


def lose_link(twin, report_path: Path, *, fault: str, mode: str) -> dict[str, object]:
    """Stream from a process of its own, inject ``fault``, and return what that process reports."""
    command = [sys.executable, "-c", SERVO_LOOP, twin.host, mode, str(report_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while (line := process.stdout.readline().strip()) != "streaming":
                assert line or process.poll() is None, "the servo loop did not start"
            twin.faults.fault(fault)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    report: dict[str, object] = json.loads(report_path.read_text())
    return report


@pytest.mark.parametrize("mode", ["leave", "exit"])
def test_a_silent_link_is_noticed(twin, tmp_path, mode):
    report = lose_link(twin, tmp_path / "report.json", fault="silent_link", mode=mode)
    assert report["is_link_error"], report
    assert not report["alive"]
    assert mode == "leave" or report["exited"]  # leaving the context does not hang on a dead link


def test_a_dropped_link_is_noticed(twin, tmp_path):
    report = lose_link(twin, tmp_path / "report.json", fault="link_drop", mode="leave")
    assert report["is_link_error"], report
