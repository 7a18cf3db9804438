"""Keeps one servo process running, and is the controller node's only way to it.

One thread of its own starts the process, says every 20 ms that the controller lives, and starts a fresh process after a
backoff when one has left. A fresh process begins stopped; nothing here ever resumes by itself.
"""

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.link_records import ServoStatus
from mola_core.control.servo_link import ControllerEnd
from mola_nodes.servo_exit import ServoExit, describe_exit
from mola_nodes.servo_process import LAST_WORDS

_BEAT_S = 0.02
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.2, 5.0
_HEALTHY_NS = 5 * NS_PER_S
"""A process that lived this long was well; the next failure starts with the first backoff again."""
_HUNG_NS = 500 * NS_PER_MS
"""A process that has ticked and then says nothing for so long hangs inside the library, which may send a stale target
when it comes back."""
_LEAVE_S = 5.0
"""How long a process may take to brake and disconnect."""

_log = logging.getLogger("mola.servo")


def _left_to_python(bug: BaseException) -> NoReturn:
    """Its trace is printed as that of any thread."""
    raise bug


@dataclass(frozen=True, slots=True)
class SupervisedStatus:
    """What is known of the servo process."""

    servo: ServoStatus | None
    """What it said last; None while it is starting, connecting, or gone."""
    pid: int | None
    """None while there is no process."""
    restarts: int
    """Processes started after the first."""
    problem: str
    """Why there is no process, or why the last one left; empty while all is well."""


class ServoSupervisor:
    """Starts, feeds and restarts the servo process. Methods may be called from any thread."""

    def __init__(
        self,
        site_path: Path,
        link_dir: Path,
        *,
        clock: Clock | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "mola_nodes.servo_process"),
        on_bug: Callable[[BaseException], None] = _left_to_python,
    ) -> None:
        """``link_dir`` should lie on /dev/shm and belong to this supervisor alone. ``on_bug`` is told, in the supervisor's thread,
        what has ended it; a servo process that lives brakes and leaves with it, and nobody starts another.
        """
        self._site_path = site_path
        self._link_dir = link_dir
        self._clock = clock or SystemClock()
        self._command = command
        self._on_bug = on_bug
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._wanted_now = threading.Event()
        self._link: ControllerEnd | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._unlock_asked_ns: int | None = None
        self._manager_beat_ns: int | None = None
        self._stopped_ns: int | None = None
        self._restarts = 0
        self._problem = "the servo process is starting"
        self._thread = threading.Thread(target=self._run, name="servo supervisor", daemon=True)

    def start(self) -> None:
        """Make the link and start the process; returns at once."""
        self._link = ControllerEnd(self._link_dir, clock=self._clock)
        self._thread.start()

    def close(self) -> None:
        """Have the process brake and leave; blocks until it has, or was killed after five seconds."""
        self._closing.set()
        self._wanted_now.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._link is not None:
            self._link.close()
            self._link = None

    def offer(self, chunk: JointChunk) -> None:
        """Send a validated chunk; what becomes of it is in ``status().servo.outcomes``."""
        with self._lock:
            self._open_link().send(chunk)

    def resume(self) -> None:
        """The operator wants motion. While no process can connect, this unlocks a protective stop and tries again."""
        with self._lock:
            self._open_link().resume()
            self._unlock_asked_ns = self._clock.monotonic_ns()
            self._wanted_now.set()

    def stop(self, reason: str) -> None:
        """Brake, and stay stopped until resumed."""
        with self._lock:
            self._open_link().stop(reason)

    def guide_by_hand(self) -> None:
        """A person wants to guide the arm by hand; lapses unless said again within 150 ms."""
        with self._lock:
            self._open_link().guide_by_hand()

    def note_manager_beat(self) -> None:
        """The lifecycle manager was heard just now. From the first call on, its silence stops the arm."""
        with self._lock:
            self._manager_beat_ns = self._clock.monotonic_ns()
            self._open_link().beat(manager_beat_ns=self._manager_beat_ns)

    def status(self) -> SupervisedStatus:
        """What is known now; never blocks for long."""
        with self._lock:
            process, servo = self._process, self._open_link().status()
            pid = None if process is None else process.pid
            if servo is not None and servo.pid != pid:
                servo = None  # left behind by one that was killed
            return SupervisedStatus(
                servo=servo, pid=pid, restarts=self._restarts, problem="" if servo is not None else self._problem
            )

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._keep_one_running()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else would hear why the arm has stopped
            self._on_bug(error)

    def _keep_one_running(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._closing.is_set():
            started_ns = self._clock.monotonic_ns()
            code = self._watch(self._spawn())
            self._note_exit(code)
            if self._closing.is_set() or not _may_restart(code):
                return
            if self._clock.monotonic_ns() - started_ns > _HEALTHY_NS:
                backoff_s = _FIRST_BACKOFF_S
            self._wanted_now.clear()
            if not self._unlock_is_asked():
                self._wanted_now.wait(backoff_s)
            backoff_s = min(2.0 * backoff_s, _LONGEST_BACKOFF_S)
            self._restarts += 1

    def _spawn(self) -> subprocess.Popen[bytes]:
        unlock = self._unlock_is_asked()  # a wish from before the stop that it would unlock is none
        arguments = ["--site", str(self._site_path), "--link", str(self._link_dir)]
        with self._lock:
            self._unlock_asked_ns = None
            if unlock:
                arguments.append("--unlock")
            self._open_link().beat(manager_beat_ns=self._manager_beat_ns)
            (self._link_dir / LAST_WORDS).unlink(missing_ok=True)
            # In this thread, which lives as long as the node: the kernel tells the child when its thread ends.
            self._process = subprocess.Popen([*self._command, *arguments], stdin=subprocess.DEVNULL)
            return self._process

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        while (code := process.poll()) is None:
            if self._closing.wait(_BEAT_S):
                return _end(process)
            with self._lock:
                self._open_link().beat(manager_beat_ns=self._manager_beat_ns)
                servo = self._open_link().status()
            if servo is not None and servo.pid == process.pid and self._is_hung(servo):
                _log.warning("the servo process hangs; killing it")
                process.kill()
        return code

    def _is_hung(self, servo: ServoStatus) -> bool:
        return self._clock.monotonic_ns() - servo.beat_ns > _HUNG_NS

    def _note_exit(self, code: int) -> None:
        try:
            words = (self._link_dir / LAST_WORDS).read_text(encoding="utf-8").strip()
        except OSError:
            words = ""
        problem = f"{describe_exit(code)}: {words}" if words else describe_exit(code)
        with self._lock:
            self._process = None
            self._problem = problem
            # Attempts that never connected do not make an older wish invalid.
            if self._stopped_ns is None or code != ServoExit.ARM_NOT_READY:
                self._stopped_ns = self._clock.monotonic_ns()
        if not self._closing.is_set():
            _log.warning("%s", problem)

    def _unlock_is_asked(self) -> bool:
        with self._lock:
            asked_ns, stopped_ns = self._unlock_asked_ns, self._stopped_ns
            return asked_ns is not None and stopped_ns is not None and asked_ns > stopped_ns

    def _open_link(self) -> ControllerEnd:
        if self._link is None:
            raise RuntimeError("the supervisor is not started")
        return self._link

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _may_restart(code: int) -> bool:
    try:
        return ServoExit(code).is_worth_a_restart
    except ValueError:
        return True  # killed, or crashed inside the library


def _end(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
