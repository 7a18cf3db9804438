"""Waits for the death of one process and then kills all that it has started: the last guard behind a supervisor.

A process of its own, because nobody can clean up after his own SIGKILL. Everything started under a supervisor carries the supervisor's
mark in its environment (``<run>/<label>/``), whatever process group or session it has moved to. Run as a script, so that it starts
without importing anything of ours: ``python -I -S sentinel.py <pid> <mark>``.
"""

import os
import select
import signal
import sys
import time
from pathlib import Path

MARK = "MOLA_LAUNCH_RUN"
_ROUNDS = 100
_PAUSE_S = 0.02


def marked_processes(mark: str) -> list[int]:
    """The living processes whose environment has a ``MOLA_LAUNCH_RUN`` that begins with ``mark``; zombies do not live."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _process_ids() if any(variable.startswith(wanted) for variable in _environment(pid))]


def kill_marked(mark: str) -> bool:
    """SIGKILL all marked processes, and what they may still start meanwhile; whether all of them are dead now."""
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        pids = marked_processes(mark)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed |= set(pids)
        # a dying process loses its environment first, and only then closes its files and sockets
        if not any(_is_dying(pid) for pid in killed):
            return True
        time.sleep(_PAUSE_S)
    return False


def watch(pid: int, mark: str) -> None:
    """Return after process ``pid``, our parent, has died and everything with ``mark`` has been killed."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        descriptor = None
    if descriptor is not None and os.getppid() == pid:
        select.select([descriptor], [], [])
    kill_marked(mark)


def _process_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _is_dying(pid: int) -> bool:
    """Whether a killed process is not yet dead: there, and no zombie."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    """Variables of process ``pid``; none for a zombie, a process that is gone, or one of another user."""
    try:
        return (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
