"""The expert against a running twin: RTDE, servo process, gripper socket and world server, all in real time.

This is the servo path of the real rig without its ROS graph: chunks pass the same door and the same 500 Hz process, which
is started here as the controller node starts it.
"""

import contextlib
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import ArmError, ChunkRejectedError, ConfigError
from mola_core.contracts.site import Site, load_site
from mola_core.contracts.types import ActionChunk, ActionSpace, RobotMode, RobotState, SafetyMode
from mola_core.control.link_records import ServoStatus
from mola_core.control.servo_link import ControllerEnd
from mola_core.control.servo_types import ServoState
from mola_core.control.validation import prepare_chunk
from mola_twin.expert.expert import HORIZON, PERIOD_NS, Expert, make_expert
from mola_twin.expert.gripper_socket import GripperSocket
from mola_twin.expert.home import Homing
from mola_twin.expert.trials import Trial, unmet
from mola_twin.moved_site import site_at
from mola_twin.tasks.instructions import task_spec
from mola_twin.tasks.success import Success
from mola_twin.world_client import WorldClient

SERVO_MODULE = "mola_nodes.servo_process"
_ACT_PERIOD_NS = NS_PER_S // 20
_BEAT_S = 0.02
_CONNECT_S = 30.0
_MAX_RESTARTS = 3
_SETTLE_S = 2.0
_AT_HOME_RAD = 0.02
_ENGAGED = (ServoState.HOLDING, ServoState.EXECUTING)


class TwinRig:
    """One running twin with a servo process of our own. Use it in one thread, in a ``with``."""

    def __init__(self, site_path: Path, *, host: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._host = host
        self._site_text = site_at(site_path, host=host)
        self._world = WorldClient(host)
        self._stack = contextlib.ExitStack()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sequences = itertools.count(1)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mola-servo-", dir="/dev/shm")))
            site_path = folder / "site.yaml"
            site_path.write_text(self._site_text, encoding="utf-8")
            self._site: Site = load_site(site_path)
            self._link = stack.enter_context(ControllerEnd(folder / "link", clock=self._clock))
            stack.callback(self._world.close)
            self._start = partial(_start_servo, site_path, folder / "link")
            self._process = self._start()
            stack.callback(lambda: _end(self._process))
            thread = threading.Thread(target=self._attend, name="beat and gripper")
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._closing.set)
            self._engage()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run_trial(self, *, task: str, seed: int, variant: str) -> Trial:
        """One episode: home, reset, act until done or out of time."""
        self._prepare()
        self._world.reset(task=task, seed=seed, variant=variant)
        expert = make_expert(task, self._site)
        begin_ns = self._clock.monotonic_ns()
        ending = self._act(expert, until_ns=begin_ns + round(task_spec(task).time_limit_s * NS_PER_S))
        duration_s = (self._clock.monotonic_ns() - begin_ns) / NS_PER_S
        verdict = self._verdict()
        done = verdict.done and not ending
        return Trial(
            task=task,
            seed=seed,
            variant=variant,
            success=done,
            duration_s=duration_s,
            wall_s=duration_s,
            attempts=expert.num_attempts,
            outcome="done" if done else ending or unmet(verdict.conditions),
        )

    def _prepare(self) -> None:
        """Engaged and at home; on a busy machine the servo process may leave meanwhile, and another one tries again."""
        for _ in range(_MAX_RESTARTS):
            self._engage()
            with contextlib.suppress(ArmError):
                self._go_home()
                return
        self._go_home()

    def _act(self, expert: Expert, *, until_ns: int) -> str:
        """Send chunks at 20 Hz until the expert says that it is done; otherwise why it had to end."""
        due_ns = self._clock.monotonic_ns()
        while due_ns < until_ns:
            status = self._newest_status()
            if status is None or status.state not in _ENGAGED:
                why = "its process has left" if status is None else status.reason
                return f"servo stopped in {expert.stage}: {why}"
            chunk = expert.act(truth=self._world.truth(), state=_state(status), now_ns=self._clock.now_ns())
            with contextlib.suppress(ChunkRejectedError):  # late on a busy machine; the next one is due already
                self._send(chunk, status)
            if chunk.final:
                return ""
            due_ns = max(due_ns + _ACT_PERIOD_NS, self._clock.monotonic_ns())
            self._clock.sleep_until(due_ns)
        return f"time limit in {expert.stage}"

    def _verdict(self) -> Success:
        """The world's, once the dwell of a predicate that holds has passed."""
        for _ in range(20):
            verdict = self._world.success()
            if verdict.done or not all(verdict.conditions.values()):
                break
            time.sleep(0.05)
        return verdict

    # --- servo process ----------------------------------------------------------------------------------------------

    def _engage(self) -> None:
        """Resume, and wait until the servo holds; a servo process that left is replaced a few times."""
        deadline_ns = self._clock.monotonic_ns() + round(_CONNECT_S * NS_PER_S)
        asked_ns = restarts = 0
        while self._clock.monotonic_ns() < deadline_ns:
            if self._process.poll() is not None:
                if restarts == _MAX_RESTARTS:
                    raise ArmError(
                        f"the servo process for {self._host} left with code {self._process.returncode}; "
                        "its last line above says why"
                    )
                self._process = self._start()
                restarts += 1
            status = self._newest_status()
            if status is not None and status.state in _ENGAGED:
                return
            if status is not None and self._clock.monotonic_ns() - asked_ns > NS_PER_S // 2:
                self._ask_resume()
                asked_ns = self._clock.monotonic_ns()
            time.sleep(0.02)
        reason = status.reason if status is not None else "it says nothing"
        raise ArmError(f"the arm at {self._host} does not engage: {reason}")

    def _ask_resume(self) -> None:
        with self._lock:
            self._link.resume()

    def _newest_status(self) -> ServoStatus | None:
        """What the present servo process says; None before its first word and after its last."""
        status = self._link.status()
        alive = self._process.poll() is None
        return status if status is not None and alive and status.pid == self._process.pid else None

    def _status(self) -> ServoStatus:
        status = self._newest_status()
        if status is None:
            raise ArmError(f"the servo process for {self._host} is gone; is the twin still running?")
        return status

    def _send(self, chunk: ActionChunk, status: ServoStatus) -> None:
        numbered = replace(chunk, sequence=next(self._sequences))
        prepared = prepare_chunk(
            numbered, site=self._site, now_ns=self._clock.now_ns(), commanded=status.commanded_positions
        )
        with self._lock:
            self._link.send(prepared)

    def _go_home(self) -> None:
        """Bring the arm to the site's home; nothing to do when it is there."""
        goal = np.array(self._site.arm.home)
        status = self._status()
        if float(np.abs(status.measured_positions - goal).max()) < _AT_HOME_RAD:
            return
        homing = Homing.begin(start=status.commanded_positions, goal=goal, now_ns=self._clock.now_ns())
        deadline_ns = self._clock.now_ns() + round((homing.path.duration_s + _SETTLE_S) * NS_PER_S)
        while not homing.arrived(status.measured_positions, now_ns=self._clock.now_ns()):
            if self._clock.now_ns() > deadline_ns or status.state not in _ENGAGED:
                raise ArmError(f"the arm at {self._host} does not come home: {status.reason or 'out of time'}")
            with contextlib.suppress(ChunkRejectedError):
                self._send(_homing_chunk(homing, status, now_ns=self._clock.now_ns()), status)
            self._clock.sleep_until(self._clock.monotonic_ns() + _ACT_PERIOD_NS)
            status = self._status()

    # --- the other thread -------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Say that we live, and hand the gripper what the servo asks of it."""
        with contextlib.closing(GripperSocket(self._host)) as gripper:
            while not self._closing.wait(_BEAT_S):
                with self._lock:
                    self._link.beat()
                status = self._link.status()
                target = None if status is None else status.gripper_target
                if target is not None:
                    gripper.move(target)


def _state(status: ServoStatus) -> RobotState:
    return RobotState(
        stamp_ns=status.measured_stamp_ns,
        joint_positions=status.measured_positions,
        joint_velocities=status.measured_velocities,
        base_from_tcp=status.base_from_tcp,
        gripper_opening=None,  # the truth knows; nobody here asks the gripper
        robot_mode=RobotMode(status.robot_mode),
        safety_mode=SafetyMode(status.safety_mode),
        speed_scaling=status.speed_scaling,
    )


def _homing_chunk(homing: Homing, status: ServoStatus, *, now_ns: int) -> ActionChunk:
    return ActionChunk(
        sequence=0,
        source="homing",
        bundle_id="",
        stamp_ns=status.measured_stamp_ns,
        alive_stamp_ns=status.measured_stamp_ns,
        start_ns=now_ns,
        period_ns=PERIOD_NS,
        space=ActionSpace.JOINT,
        targets=homing.targets(now_ns=now_ns, horizon=HORIZON, period_ns=PERIOD_NS),
        gripper_openings=np.full(HORIZON, 1.0),
        execute_steps=4,
        final=True,
    )


def _start_servo(site_path: Path, link: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", SERVO_MODULE, "--site", str(site_path), "--link", str(link)]
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ConfigError(f"the servo process cannot be started ({error}); is mola_nodes installed?") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=6.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
