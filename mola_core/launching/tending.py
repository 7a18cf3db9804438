"""The loop that starts processes, passes on what they write, notices their end, starts them again, and stops them."""

import json
import os
import selectors
import signal
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.launching.child import Child, LineReader, Stream
from mola_core.launching.errors import ProcessError
from mola_core.launching.plan import LaunchPlan, ProcessSpec
from mola_core.launching.sentinel import kill_marked, marked_processes

Emit = Callable[[Stream, str], None]
"""Receives each line of output with its prefix, without its line end."""

GRACE_S = 5.0
"""From SIGINT to SIGTERM and from SIGTERM to SIGKILL, as ``ros2 launch``."""
_ORPHAN_GRACE_S = 1.0
_ORPHAN_POLL_S = 0.05
_WAKE = b"\0"
_QUIET_ENDS = frozenset(
    {0, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGINT, 128 + signal.SIGTERM}
)


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How one process ended."""

    name: str
    pid: int
    returncode: int
    """Negative: the signal that killed it."""

    def __str__(self) -> str:
        if self.returncode < 0:
            return f"signal {signal.Signals(-self.returncode).name}"
        return f"exit code {self.returncode}"

    @property
    def status(self) -> int:
        """As a shell reports it: 128 + the signal."""
        return 128 - self.returncode if self.returncode < 0 else self.returncode


@dataclass(slots=True)
class Keeper:
    """One process of the plan through all its lives."""

    spec: ProcessSpec
    child: Child | None = None
    exits: list[ProcessExit] = field(default_factory=list)
    due_ns: int | None = None
    """When to clear away its orphans and, if it respawns, to start it again; None: nothing is due."""


class Tender:
    """Everything that touches processes, in one thread: the kernel kills children with the thread that created them.

    ``changed`` guards keepers and the fields below; it is notified of every change.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        *,
        emit: Emit,
        clock: Clock,
        directory: Path,
        run_id: str,
        pids_file: Path | None,
        stop_signals: Collection[signal.Signals],
    ) -> None:
        self.keepers = [Keeper(spec) for spec in plan.processes]
        self.changed = threading.Condition()
        self.started = False
        self.done = False
        self.failure: Exception | None = None
        self.required_exit: ProcessExit | None = None
        self._emit = emit
        self._clock = clock
        self._directory = directory
        self._run_id = run_id
        self._pids_file = pids_file
        self._stop_signals = stop_signals
        self._selector = selectors.DefaultSelector()
        self._wake_reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wake_descriptor: int | None = writer
        """Whatever is written here wakes the loop; the number of a stop signal, as a byte, requests the shutdown."""
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._woken)
        self._shutdown = False
        self._hurry = False
        self._stopping = False

    def request_shutdown(self, *, hurry: bool = False) -> None:
        """End it all; with ``hurry`` at once, by SIGKILL. Takes no lock: may be called from a signal handler."""
        self._shutdown = True
        self._hurry = self._hurry or hurry
        if self.wake_descriptor is not None:
            os.write(self.wake_descriptor, _WAKE)

    def close(self) -> None:
        """Give back what :meth:`request_shutdown` needs, after the thread has ended."""
        descriptor, self.wake_descriptor = self.wake_descriptor, None
        if descriptor is not None:
            os.close(descriptor)
            os.close(self._wake_reader)

    @property
    def shutdown_requested(self) -> bool:
        return self._shutdown

    def run(self) -> None:
        """Start all in order, tend them until they end or shutdown is requested, stop all in reverse order."""
        try:
            self._guarded(self._run)
            self._guarded(self._stop_all)
            self._guarded(self._finish)
        finally:
            kill_marked(f"{self._run_id}/")
            with self.changed:
                self.done = True
                self.changed.notify_all()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Whatever goes wrong in one step, the next must be taken; the first error is for the thread that waits."""
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self.failure = self.failure or error

    def _run(self) -> None:
        for keeper in self.keepers:
            self._start(keeper)
        with self.changed:
            self.started = True
            self.changed.notify_all()
        while not self._finished():
            self._tend(self._seconds_until_due())

    def _finished(self) -> bool:
        idle = all(keeper.child is None and keeper.due_ns is None for keeper in self.keepers)
        return self._shutdown or self.required_exit is not None or idle

    # --- one turn of the loop

    def _tend(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            key.data()
        for keeper in self.keepers:
            if keeper.due_ns is not None and keeper.due_ns <= self._clock.monotonic_ns():
                keeper.due_ns = None
                kill_marked(self._mark(keeper))
                if keeper.spec.respawn:
                    self._start(keeper)

    def _tend_until(self, condition: Callable[[], bool], *, timeout_s: float, poll_s: float | None = None) -> bool:
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        while not condition():
            remaining_s = (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
            if remaining_s <= 0:
                return False
            self._tend(remaining_s if poll_s is None else min(poll_s, remaining_s))
        return True

    def _seconds_until_due(self) -> float | None:
        dues = [keeper.due_ns for keeper in self.keepers if keeper.due_ns is not None]
        return max(0.0, (min(dues) - self._clock.monotonic_ns()) / NS_PER_S) if dues else None

    def _woken(self) -> None:
        for number in os.read(self._wake_reader, 4096):
            if number in self._stop_signals:
                self._hurry = self._shutdown  # the second signal does not wait
                self._shutdown = True

    def _start(self, keeper: Keeper) -> None:
        child = Child(keeper.spec, directory=self._directory, mark=self._mark(keeper))
        self._selector.register(child.pidfd, selectors.EVENT_READ, partial(self._reap, keeper, child))
        for reader in child.outputs:
            self._selector.register(reader, selectors.EVENT_READ, partial(self._read, keeper, reader))
        with self.changed:
            keeper.child = child
            self._publish()

    def _reap(self, keeper: Keeper, child: Child) -> None:
        returncode = child.reap()
        if returncode is None:
            return
        self._selector.unregister(child.pidfd)
        exit_ = ProcessExit(name=keeper.spec.name, pid=child.pid, returncode=returncode)
        with self.changed:
            child.close()
            keeper.child = None
            keeper.exits.append(exit_)
            if not self._stopping:
                self._schedule(keeper)
            if keeper.spec.required and not self._stopping and self.required_exit is None:
                self.required_exit = exit_
            self._publish()
        self._report_exit(keeper.spec, exit_)

    def _schedule(self, keeper: Keeper) -> None:
        if keeper.spec.respawn:
            delay_s = keeper.spec.respawn_delay_s
        elif marked_processes(self._mark(keeper)):
            delay_s = _ORPHAN_GRACE_S
        else:
            return
        keeper.due_ns = self._clock.monotonic_ns() + int(delay_s * NS_PER_S)

    def _read(self, keeper: Keeper, reader: LineReader) -> None:
        if not reader.read(lambda line: self._say(reader.stream, keeper.spec.label, line)):
            self._selector.unregister(reader)
            reader.close()

    # --- the end

    def _stop_all(self) -> None:
        self._stopping = True
        for keeper in reversed(self.keepers):
            keeper.due_ns = None
            if keeper.child is not None:
                self._stop(keeper.spec, keeper, keeper.child)
            self._clear_orphans(keeper)

    def _stop(self, spec: ProcessSpec, keeper: Keeper, child: Child) -> None:
        def gone() -> bool:
            return keeper.child is None or self._hurry

        if not self._hurry:
            child.send(signal.SIGINT)
            if not self._tend_until(gone, timeout_s=GRACE_S):
                self._report(f"{spec.label} (pid {child.pid}) did not end {GRACE_S:g} s after SIGINT: SIGTERM")
                child.send_to_group(signal.SIGTERM)
                self._tend_until(gone, timeout_s=GRACE_S)
        if keeper.child is not None:
            self._report(f"{spec.label} (pid {child.pid}) still runs: SIGKILL")
            child.send_to_group(signal.SIGKILL)
            if not self._tend_until(lambda: keeper.child is None, timeout_s=GRACE_S):
                self._report(f"{spec.label} (pid {child.pid}) survives SIGKILL; the kernel holds it")

    def _clear_orphans(self, keeper: Keeper) -> None:
        """What a process leaves behind may end by itself for a moment, then it is killed."""
        mark = self._mark(keeper)
        ended = self._tend_until(
            lambda: self._hurry or not marked_processes(mark), timeout_s=_ORPHAN_GRACE_S, poll_s=_ORPHAN_POLL_S
        )
        if (not ended or self._hurry) and not kill_marked(mark):
            self._report(f"{keeper.spec.label} left processes that survive SIGKILL: {marked_processes(mark)}")

    def _finish(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, LineReader):
                key.data()  # what was written last
                key.fileobj.close()
        self._selector.close()

    # --- telling

    def _mark(self, keeper: Keeper) -> str:
        return f"{self._run_id}/{keeper.spec.label}/"

    def _publish(self) -> None:
        """Tell those who wait for a change; the caller holds the lock."""
        self.changed.notify_all()
        if self._pids_file is not None:
            _write_pids(self._pids_file, self.keepers)

    def _report_exit(self, spec: ProcessSpec, exit_: ProcessExit) -> None:
        if self._stopping and exit_.returncode in _QUIET_ENDS:
            return
        if self._stopping:
            then = ""
        elif spec.required:
            then = "; all others are stopped"
        elif spec.respawn:
            then = f"; started again in {spec.respawn_delay_s:g} s"
        else:
            then = "; not started again"
        verb = "ended" if exit_.returncode == 0 else "died"
        self._report(f"{spec.name} (pid {exit_.pid}) {verb}: {exit_}{then}")

    def _report(self, line: str) -> None:
        self._say("stderr", "launch", line)

    def _say(self, stream: Stream, label: str, line: str) -> None:
        try:
            self._emit(stream, f"[{label}] {line}")
        except OSError:  # nobody reads any more, as in `mola launch … | head`
            self._emit = _discard
            self.request_shutdown()


def _discard(stream: Stream, line: str) -> None:
    del stream, line


def _write_pids(path: Path, keepers: Iterable[Keeper]) -> None:
    pids = {keeper.spec.name: keeper.child.pid for keeper in keepers if keeper.child is not None}
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.write_text(json.dumps(pids, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ProcessError(f"run file {path} cannot be written: {error.strerror}") from error
