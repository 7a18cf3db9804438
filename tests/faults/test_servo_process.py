"""The servo process against the twin's controller, through a real ur_rtde: how it leaves, and what comes after."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.site import load_site
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.control.servo_types import ServoState
from mola_core.control.validation import prepare_chunk
from mola_nodes.servo_exit import ServoExit
from mola_nodes.servo_supervisor import ServoSupervisor, SupervisedStatus
from mola_twin.fault_client import FaultClient

HOST = "127.0.1.44"
WATCHDOG_S = 60.0
SITES = Path(__file__).parents[2] / "launch" / "sites"
SWING = np.array([0.3, 0.05, 0.1, 0.05, 0.1, 0.2])


@pytest.fixture(scope="module")
def twin() -> Iterator[FaultClient]:
    code = (
        "import sys; from mola_twin.serve import ServeOptions, serve\n"
        f"options = ServeOptions(host={HOST!r}, run_dir=None, cell=False, render=False, allow_remote=False,"
        " realtime_priority=20, verbose=False)\n"
        "sys.exit(serve(options, announce=lambda line: print(line, flush=True)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert HOST in process.stdout.readline()
            with FaultClient(HOST) as client:
                yield client
        finally:
            process.terminate()


@pytest.fixture
def site_path(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    site = yaml.safe_load((SITES / "twin.yaml").read_text().replace("127.0.0.2", HOST))
    # Where it is allowed: a watchdog of 50 ms is missed now and then on a machine that runs other tests beside this one.
    site["arm"]["servo"] = {"realtime_priority": 10}
    site["safety"] = {"stale_ms": 1000, "heartbeat_ms": 1000}
    path.write_text(yaml.safe_dump(site))
    return path


@pytest.fixture
def supervisor(twin: FaultClient, site_path: Path, tmp_path: Path) -> Iterator[ServoSupervisor]:
    with ServoSupervisor(site_path, tmp_path / "link") as made:
        wait_for(made, lambda status: status.servo is not None)
        yield made


def wait_for(supervisor: ServoSupervisor, condition: Callable[[SupervisedStatus], bool]) -> SupervisedStatus:
    deadline = time.monotonic() + WATCHDOG_S
    while not condition(status := supervisor.status()):
        assert time.monotonic() < deadline, f"did not happen: {status}"
        time.sleep(0.005)
    return status


def is_in(state: ServoState) -> Callable[[SupervisedStatus], bool]:
    return lambda status: status.servo is not None and status.servo.state is state


class Policy:
    """Swings the arm for as long as it is asked to."""

    def __init__(self, supervisor: ServoSupervisor, site_path: Path) -> None:
        self._supervisor = supervisor
        self._site = load_site(site_path)
        self._sequence = 0
        self._start_ns = time.time_ns()
        status = supervisor.status().servo
        assert status is not None
        # Earlier tests left the arm somewhere on the same swing.
        away = (status.commanded_positions - np.array(self._site.arm.home))[0] / SWING[0]
        self._phase = float(np.arcsin(np.clip(away, -1.0, 1.0)))

    def send(self) -> None:
        status = self._supervisor.status().servo
        now_ns = time.time_ns()
        self._sequence += 1
        start_ns = now_ns + 80 * NS_PER_MS
        times = (start_ns - self._start_ns) * 1e-9 + np.arange(24) / 30.0
        chunk = ActionChunk(
            sequence=self._sequence,
            source="swing",
            bundle_id="",
            stamp_ns=now_ns,
            alive_stamp_ns=now_ns,
            start_ns=start_ns,
            period_ns=33_333_333,
            space=ActionSpace.JOINT,
            targets=np.array(self._site.arm.home) + SWING * np.sin(self._phase + 1.5 * times)[:, None],
            gripper_openings=np.full(24, 0.5),
            execute_steps=12,
            final=False,
        )
        commanded = np.array(self._site.arm.home) if status is None else status.commanded_positions
        self._supervisor.offer(prepare_chunk(chunk, site=self._site, now_ns=now_ns, commanded=commanded))

    def move(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send()
            time.sleep(0.05)


@pytest.fixture
def moving(supervisor: ServoSupervisor, site_path: Path) -> Policy:
    """A policy that has the arm moving at the moment of return."""
    wait_for(supervisor, is_in(ServoState.STOPPED))
    supervisor.resume()
    wait_for(supervisor, is_in(ServoState.HOLDING))
    policy = Policy(supervisor, site_path)
    policy.move(0.8)
    wait_for(supervisor, is_in(ServoState.EXECUTING))
    return policy


def assert_still_until_resumed(supervisor: ServoSupervisor, twin: FaultClient, policy: Policy) -> None:
    """A fresh process stands still, chunks or not, and moves again once resumed."""
    wait_for(supervisor, is_in(ServoState.STOPPED))
    before = twin.status().joint_positions
    policy.move(0.3)
    assert np.abs(np.array(twin.status().joint_positions) - before).max() < 1e-3
    supervisor.resume()
    wait_for(supervisor, is_in(ServoState.HOLDING))


def test_a_killed_servo_process_stops_the_robot_program_and_is_replaced(
    supervisor: ServoSupervisor, twin: FaultClient, moving: Policy
) -> None:
    pid = supervisor.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    status = wait_for(supervisor, lambda status: status.pid != pid)
    assert "signal 9" in status.problem
    wait_for(supervisor, lambda status: status.servo is not None)
    # the first attempts may find the controller still busy with the program of the dead one
    assert supervisor.status().restarts >= 1
    assert_still_until_resumed(supervisor, twin, moving)


def test_a_silent_link_ends_the_process(supervisor: ServoSupervisor, twin: FaultClient, moving: Policy) -> None:
    twin.silent_link(on=True)
    try:
        named = (ServoExit.ARM_SILENT.sentence, ServoExit.LINK_LOST.sentence)
        wait_for(supervisor, lambda status: any(sentence in status.problem for sentence in named))
    finally:
        twin.silent_link(on=False)
    wait_for(supervisor, lambda status: status.servo is not None)
    assert_still_until_resumed(supervisor, twin, moving)


def test_a_dropped_link_ends_the_process(supervisor: ServoSupervisor, twin: FaultClient, moving: Policy) -> None:
    twin.drop_link()
    wait_for(supervisor, lambda status: status.restarts >= 1)
    wait_for(supervisor, lambda status: status.servo is not None)
    assert_still_until_resumed(supervisor, twin, moving)


def test_a_protective_stop_is_named_unlocked_on_resume_and_nothing_moves_before_a_second_one(
    supervisor: ServoSupervisor, twin: FaultClient, moving: Policy
) -> None:
    twin.protective_stop()
    status = wait_for(supervisor, lambda status: status.servo is None and "PROTECTIVE_STOP" in status.problem)
    assert status.restarts >= 0
    supervisor.resume()
    wait_for(supervisor, is_in(ServoState.STOPPED))
    assert twin.status().safety_mode.name == "NORMAL"
    assert_still_until_resumed(supervisor, twin, moving)


def test_leaving_brakes_first(supervisor: ServoSupervisor, twin: FaultClient, moving: Policy) -> None:
    supervisor.close()
    trace = twin.trace(3.0)
    assert not trace.program_running[-1]
    running = np.flatnonzero(trace.program_running)
    assert np.abs(trace.joint_velocities[running[-1]]).max() < 0.05


def test_a_killed_controller_takes_its_servo_process_along(twin: FaultClient, site_path: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from mola_nodes.servo_supervisor import ServoSupervisor\n"
        "with ServoSupervisor(Path(sys.argv[1]), Path(sys.argv[2])) as supervisor:\n"
        "    while supervisor.status().servo is None: time.sleep(0.01)\n"
        "    print(supervisor.status().pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(site_path), str(tmp_path / "link")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        servo_pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + WATCHDOG_S
    while Path(f"/proc/{servo_pid}").exists() and "Z" not in Path(f"/proc/{servo_pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the servo process outlived its controller"
        time.sleep(0.02)
    assert (tmp_path / "link" / "last_words").read_text().strip()
    assert twin.status().program is None or "rtde_control" not in twin.status().program


def test_an_unreachable_arm_is_named_and_tried_again(site_path: Path, tmp_path: Path) -> None:
    site_path.write_text(site_path.read_text().replace(HOST, "127.0.1.99"))
    with ServoSupervisor(site_path, tmp_path / "link") as supervisor:
        status = wait_for(supervisor, lambda status: status.restarts >= 2)
        assert status.servo is None
        assert "127.0.1.99" in status.problem


def test_a_bad_site_file_is_named_and_not_tried_again(site_path: Path, tmp_path: Path) -> None:
    site_path.write_text(site_path.read_text() + "\nnonsense: 1\n")
    with ServoSupervisor(site_path, tmp_path / "link") as supervisor:
        status = wait_for(supervisor, lambda status: "nonsense" in status.problem)
        assert ServoExit.BAD_SITE.sentence in status.problem
        time.sleep(0.5)
        assert supervisor.status().restarts == 0
