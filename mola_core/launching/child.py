"""One started process: its group, its output, and signals that cannot hit a stranger."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal

from mola_core.launching.errors import ProcessError
from mola_core.launching.plan import ProcessSpec
from mola_core.launching.sentinel import MARK

Stream = Literal["stdout", "stderr"]

_CHUNK = 65536


class Child:
    """A running instance of a :class:`ProcessSpec`, leader of a process group of its own.

    The kernel kills it when the *thread* that created it ends, so one thread must create all and live longest.
    Programs of the system do what has to be done between fork and exec: no Python runs there, which would not be safe beside
    other threads. SIGINT is put back to its default, because whatever a script starts with ``&`` ignores it, and so would
    its children.
    """

    def __init__(self, spec: ProcessSpec, *, directory: Path, mark: str) -> None:
        """Start it; parameter files go to ``directory``. ProcessError where that fails."""
        preamble = [_tool("setpriv"), "--pdeathsig", "KILL", _tool("env"), "--default-signal=INT,TERM,HUP"]
        try:
            self._process = subprocess.Popen(
                [*preamble, *spec.command(directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=spec.cwd,
                env={**spec.environment, MARK: mark},
                process_group=0,
            )
        except OSError as error:
            raise ProcessError(f"{spec.where}: {spec.label} cannot be started: {error}") from error
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.outputs = [LineReader(self._process.stdout, "stdout"), LineReader(self._process.stderr, "stderr")]

    def reap(self) -> int | None:
        """The return code, negative for a signal; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the leader alone; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to it and its descendants. Until it is reaped, no stranger can be given its group's number."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Forget a process that has been reaped. Its outputs stay open: its descendants may still write."""
        os.close(self.pidfd)


class LineReader:
    """Cuts what comes out of a pipe into lines."""

    def __init__(self, pipe: IO[bytes] | None, stream: Stream) -> None:
        if pipe is None:
            raise ValueError(f"{stream} is not a pipe")
        self.stream: Stream = stream
        self._pipe = pipe
        self._rest = b""
        os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        return self._pipe.fileno()

    def read(self, deliver: Callable[[str], None]) -> bool:
        """Deliver the lines that have come; False at the end of the stream."""
        try:
            data = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > _CHUNK):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            deliver(line.decode(errors="replace").rstrip("\r"))
        return bool(data)

    def close(self) -> None:
        self._pipe.close()


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ProcessError(f"program {name!r} is not on PATH; install the packages util-linux and coreutils")
    return found
