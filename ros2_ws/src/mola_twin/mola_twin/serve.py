"""``mola twin serve``: the controller process and the cell process, up together, down together."""

import contextlib
import ctypes
import importlib.util
import logging
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import DeviceError
from mola_twin.controller.process import READY_LINE, check_host
from mola_twin.link import ARM_BLOCK, CELL_BLOCK
from mola_twin.run_dir import default_run_dir

log = logging.getLogger(__name__)

CAMERA_PORT, WORLD_PORT = 30150, 30151
_CONTROLLER_ADDRESSES = "RTDE 30004, script 30003, dashboard 29999, gripper 63352, faults 30152"
_CONTROLLER_READY_S = 30.0
_CELL_READY_S = 120.0
_STOP_S = 5.0
_POLL_NS = NS_PER_S // 10
_CELL_BACKOFF_NS = NS_PER_S // 2
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``mola twin serve`` was asked for."""

    host: str
    run_dir: Path | None = None
    cell: bool = True
    render: bool = True
    allow_remote: bool = False
    realtime_priority: int = 0
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class _Child:
    name: str
    process: subprocess.Popen[str]


def serve(options: ServeOptions, *, announce: Callable[[str], None], clock: Clock | None = None) -> int:
    """Run the twin until SIGINT or SIGTERM; ``announce`` gets one line once everything answers.

    A cell that dies is started again, with the objects as at the first start, and the arm never notices; with the
    controller the arm itself is gone, and the twin ends.

    Raises:
        ConfigError: the host is no loopback address and remote clients were not allowed.
        DeviceError: a process of the twin did not come up, or the controller ended by itself.
    """
    clock = clock or SystemClock()
    host = check_host(options.host, allow_remote=options.allow_remote)
    run_dir = options.run_dir or default_run_dir(host)
    run_dir.mkdir(parents=True, exist_ok=True)
    stopping = _catch_signals()
    with_cell = options.cell and _cell_installed()
    children: list[_Child] = []
    try:
        command = _controller_command(options, host=host, run_dir=run_dir)
        children.append(_start("controller", command, stdout=subprocess.PIPE))
        if not _wait_for_controller(children[0], stopping=stopping, clock=clock):
            return _exit_code(children[0], stopping=stopping)
        cell_command = _cell_command(options, host=host, run_dir=run_dir)
        if with_cell:
            children.append(_start("cell", cell_command, stdout=subprocess.DEVNULL))
            ports = (CAMERA_PORT, WORLD_PORT) if options.render else (WORLD_PORT,)
            if not _wait_for_cell(children[1], host=host, ports=ports, stopping=stopping, clock=clock):
                return _exit_code(children[1], stopping=stopping)
        announce(_ready_line(host, cell=with_cell, render=options.render))
        while not stopping():
            _raise_for_dead(children[0])
            if with_cell and children[1].process.poll() is not None:
                log.warning("the twin's cell process %s; starting it again", _how_it_ended(children[1]))
                clock.sleep_until(clock.monotonic_ns() + _CELL_BACKOFF_NS)
                children[1] = _start("cell", cell_command, stdout=subprocess.DEVNULL)
            clock.sleep_until(clock.monotonic_ns() + _POLL_NS)
    finally:
        _stop(children)
        _clear(run_dir)
    return 0


def _ready_line(host: str, *, cell: bool, render: bool) -> str:
    parts = [_CONTROLLER_ADDRESSES]
    if cell:
        parts += [f"cameras {CAMERA_PORT}"] * render + [f"world {WORLD_PORT}"]
    return f"twin ready on {host}: {', '.join(parts)}"


def _clear(run_dir: Path) -> None:
    """Remove what a killed process left; the directory too, unless somebody else keeps something there."""
    for name in (ARM_BLOCK, CELL_BLOCK):
        (run_dir / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run_dir.rmdir()


def _controller_command(options: ServeOptions, *, host: str, run_dir: Path) -> list[str]:
    command = _command("mola_twin.controller.process", options, host=host, run_dir=run_dir)
    return [*command, "--realtime-priority", str(options.realtime_priority)]


def _cell_command(options: ServeOptions, *, host: str, run_dir: Path) -> list[str]:
    command = _command("mola_twin.cell.process", options, host=host, run_dir=run_dir)
    return command if options.render else [*command, "--no-render"]


def _command(module: str, options: ServeOptions, *, host: str, run_dir: Path) -> list[str]:
    flags = {"--allow-remote": options.allow_remote, "--verbose": options.verbose}
    given = [flag for flag, is_set in flags.items() if is_set]
    return [sys.executable, "-m", module, "--host", host, "--run-dir", str(run_dir), *given]


def _cell_installed() -> bool:
    if importlib.util.find_spec("mola_twin.cell.process") is not None:
        return True
    log.warning("no cell process is installed: serving the controller alone")
    return False


def _start(name: str, command: Sequence[str], *, stdout: int) -> _Child:
    # this process has one thread, so running Python between fork and exec is safe here
    process = subprocess.Popen(command, stdout=stdout, text=True, preexec_fn=_die_with_parent)  # noqa: PLW1509
    return _Child(name, process)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _catch_signals() -> Callable[[], bool]:
    caught = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal caught
        caught = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return lambda: caught


def _wait_for_controller(child: _Child, *, stopping: Callable[[], bool], clock: Clock) -> bool:
    """True once it says so itself; False if it ended or we are told to stop."""
    deadline_ns = clock.monotonic_ns() + round(_CONTROLLER_READY_S * NS_PER_S)
    assert child.process.stdout is not None  # noqa: S101  # started with a pipe
    while not stopping():
        readable, _, _ = select.select([child.process.stdout], [], [], 0.1)
        if readable:
            return child.process.stdout.readline().strip() == READY_LINE
        if clock.monotonic_ns() > deadline_ns:
            raise DeviceError(f"the twin's controller is not up after {_CONTROLLER_READY_S:g} s; see it: add --verbose")
    return False


def _wait_for_cell(
    child: _Child, *, host: str, ports: Sequence[int], stopping: Callable[[], bool], clock: Clock
) -> bool:
    """True once its ports answer; False if it ended or we are told to stop."""
    deadline_ns = clock.monotonic_ns() + round(_CELL_READY_S * NS_PER_S)
    while not stopping() and child.process.poll() is None:
        if all(_answers(host, port) for port in ports):
            return True
        if clock.monotonic_ns() > deadline_ns:
            raise DeviceError(f"the twin's cell does not answer on {host}:{WORLD_PORT} after {_CELL_READY_S:g} s")
        clock.sleep_until(clock.monotonic_ns() + _POLL_NS)
    return False


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _exit_code(child: _Child, *, stopping: Callable[[], bool]) -> int:
    """Status after a failed start; the child has said why on stderr itself."""
    return 0 if stopping() else child.process.wait() or DeviceError.exit_code


def _raise_for_dead(child: _Child) -> None:
    if child.process.poll() is not None:
        raise DeviceError(
            f"the twin's {child.name} process {_how_it_ended(child)}; the twin is stopped, start it again"
        )


def _how_it_ended(child: _Child) -> str:
    status = child.process.returncode
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def _stop(children: Sequence[_Child]) -> None:
    for child in children:
        child.process.terminate()
    for child in children:
        try:
            child.process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            log.warning("the twin's %s process does not end; killed", child.name)
            child.process.kill()
            child.process.wait()
        if child.process.stdout is not None:
            child.process.stdout.close()
