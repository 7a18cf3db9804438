"""Running a plan: a context manager around all its processes, which leaves none behind however it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from mola_core.contracts.clock import Clock, SystemClock
from mola_core.launching import sentinel
from mola_core.launching.child import Child, Stream
from mola_core.launching.errors import ProcessError, nearest
from mola_core.launching.plan import LaunchPlan
from mola_core.launching.stop_signals import delivered_to
from mola_core.launching.tending import Emit, Keeper, ProcessExit, Tender

_T = TypeVar("_T")


def to_terminal(stream: Stream, line: str) -> None:
    """Write a line to this process's stream of the same name."""
    out = sys.stdout if stream == "stdout" else sys.stderr
    encoding = out.encoding or "utf-8"
    out.write(line.encode(encoding, "replace").decode(encoding) + "\n")
    out.flush()


class Supervisor:
    """Starts the processes of ``plan`` in order on entering, stops them in reverse order on leaving.

    Each runs in a process group of its own and is started again where the plan says so. Its output comes line by line to ``emit``
    (called from another thread), and so do its deaths. Stopping is SIGINT, 5 s later SIGTERM, 5 s later
    SIGKILL, one process after the other. If this process itself is killed, everything it started is killed.

    Each of ``stop_signals`` ends it all, a second one at once; they can be given in the main thread only.

    Raises:
        ProcessError: on entering, when a process cannot be started; those started before have been stopped again.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        *,
        emit: Emit = to_terminal,
        pids_file: Path | None = None,
        stop_signals: Collection[signal.Signals] = (),
        clock: Clock | None = None,
    ) -> None:
        self._make_run = partial(
            _Run, plan, emit=emit, pids_file=pids_file, stop_signals=stop_signals, clock=clock or SystemClock()
        )
        self._run: _Run | None = None

    def __enter__(self) -> Self:
        self._run = self._make_run()
        try:
            self._run.wait_started()
        except BaseException:
            self._run.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run = self._running_run()
        run.close()
        if kind is None:
            run.raise_failure()

    def request_shutdown(self, *, hurry: bool = False) -> None:
        """Begin to stop all and return; with ``hurry`` by SIGKILL at once. May be called from a signal handler."""
        self._tender().request_shutdown(hurry=hurry)

    def wait(self) -> None:
        """Block until all processes have ended: shutdown was requested, a required one ended, or all by themselves."""
        self._running_run().wait_done()

    @property
    def exit_code(self) -> int:
        """0 after a requested shutdown, else the status of the required process that ended, else of the first that failed."""
        tender = self._tender()
        with tender.changed:
            if tender.required_exit is not None:
                return tender.required_exit.status
            if tender.shutdown_requested:
                return 0
            last = [keeper.exits[-1].status for keeper in tender.keepers if keeper.exits]
            return next((status for status in last if status != 0), 0)

    def running(self) -> dict[str, int]:
        """Process ids by name, of those that run now."""
        tender = self._tender()
        with tender.changed:
            return {keeper.spec.name: keeper.child.pid for keeper in tender.keepers if keeper.child is not None}

    def pid(self, name: str) -> int:
        """Process id of ``name``. ProcessError if it does not run now."""
        with self._tender().changed:
            return self._child(name).pid

    def kill(self, name: str, number: signal.Signals) -> int:
        """Send a signal to ``name`` (to the process, not to its descendants); its process id."""
        with self._tender().changed:
            child = self._child(name)
            child.send(number)
            return child.pid

    def wait_exit(self, name: str, *, pid: int | None = None, timeout_s: float = 30.0) -> ProcessExit:
        """How process ``pid`` of ``name`` ended, waiting for it.

        Without ``pid`` the one that runs now is meant or, if none does, the one that ran last.

        Raises:
            ProcessError: it has not ended within ``timeout_s``, or never ran.
        """
        keeper = self._keeper(name)
        with self._tender().changed:
            if pid is None:
                pid = keeper.child.pid if keeper.child is not None else keeper.exits[-1].pid
            return self._wait_for(
                lambda: next((exit_ for exit_ in keeper.exits if exit_.pid == pid), None),
                what=f"the end of {name} (pid {pid})",
                timeout_s=timeout_s,
            )

    def wait_pid(self, name: str, *, other_than: int, timeout_s: float = 30.0) -> int:
        """Process id of ``name`` once it runs and is not ``other_than``: the wait for its next life.

        Raises:
            ProcessError: it does not run again within ``timeout_s``.
        """
        keeper = self._keeper(name)

        def newcomer() -> int | None:
            pid = None if keeper.child is None else keeper.child.pid
            return None if pid == other_than else pid

        with self._tender().changed:
            return self._wait_for(newcomer, what=f"the respawn of {name} (pid {other_than})", timeout_s=timeout_s)

    def _wait_for(self, find: Callable[[], _T | None], *, what: str, timeout_s: float) -> _T:
        tender = self._tender()
        tender.changed.wait_for(lambda: find() is not None or tender.done, timeout=timeout_s)
        found = find()
        if found is None:
            raise ProcessError(f"waited {timeout_s:g} s in vain for {what}")
        return found

    def _child(self, name: str) -> Child:
        keeper = self._keeper(name)
        if keeper.child is None:
            last = f"; it ended last with {keeper.exits[-1]}" if keeper.exits else ""
            raise ProcessError(f"process {name!r} does not run now{last}")
        return keeper.child

    def _keeper(self, name: str) -> Keeper:
        keepers = {keeper.spec.name: keeper for keeper in self._tender().keepers}
        if name not in keepers:
            raise ProcessError(f"there is no process {name!r}; {nearest(name, keepers)}")
        return keepers[name]

    def _tender(self) -> Tender:
        return self._running_run().tender

    def _running_run(self) -> "_Run":
        if self._run is None:
            raise ProcessError("the supervisor runs nothing yet; enter it: with Supervisor(plan) as graph:")
        return self._run


class _Run:
    """What exists between entering and leaving: the tender's thread, the sentinel, the parameter files."""

    def __init__(
        self,
        plan: LaunchPlan,
        *,
        emit: Emit,
        pids_file: Path | None,
        stop_signals: Collection[signal.Signals],
        clock: Clock,
    ) -> None:
        run_id = uuid.uuid4().hex
        with ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="mola_launch_"))
            self.tender = Tender(
                plan,
                emit=emit,
                clock=clock,
                directory=Path(directory),
                run_id=run_id,
                pids_file=pids_file,
                stop_signals=stop_signals,
            )
            stack.callback(self.tender.close)
            if self.tender.wake_descriptor is not None:
                stack.enter_context(delivered_to(self.tender.wake_descriptor, stop_signals))
            sentinel_process = _start_sentinel(f"{run_id}/")
            stack.callback(sentinel_process.wait)
            stack.callback(sentinel_process.kill)
            self._thread = threading.Thread(target=self.tender.run, name="launch", daemon=True)
            self._thread.start()
            self._stack = stack.pop_all()

    def wait_started(self) -> None:
        with self.tender.changed:
            self.tender.changed.wait_for(lambda: self.tender.started or self.tender.done)
        self.raise_failure()

    def wait_done(self) -> None:
        with self.tender.changed:
            self.tender.changed.wait_for(lambda: self.tender.done)
        self.raise_failure()

    def close(self) -> None:
        """Stop everything. A further Ctrl-C while that lasts kills what is left."""
        self.tender.request_shutdown()
        while self._thread.is_alive():
            try:
                with self.tender.changed:
                    self.tender.changed.wait_for(lambda: self.tender.done)
                self._thread.join()
            except KeyboardInterrupt:
                self.tender.request_shutdown(hurry=True)
        self._stack.close()

    def raise_failure(self) -> None:
        if self.tender.failure is not None:
            raise self.tender.failure


def _start_sentinel(mark: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", sentinel.__file__, str(os.getpid()), mark],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},  # and so without the mark of a supervisor above this one
        cwd="/",
        start_new_session=True,
    )
