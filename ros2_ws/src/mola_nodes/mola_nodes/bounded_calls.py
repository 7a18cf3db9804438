"""Calls into engines that may take for ever: whoever makes them gets on after a while."""

import contextlib
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from mola_core.contracts.errors import MolaError

T = TypeVar("T")
_NICE = 19


class NotBackError(MolaError):
    """The call has not come back in time; it goes on, and what it gives is forgotten."""


class BoundedCalls(Generic[T]):
    """Makes one call at a time, in a thread that is kept for the next one; a call that is not back in time keeps its thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._worker: _Worker[T] | None = None

    def call(self, work: Callable[[], T], *, limit_s: float) -> T:
        """What ``work`` gives or raises.

        Raises:
            NotBackError: it was not back within ``limit_s``.
        """
        worker = self._worker = self._worker or _Worker[T](self._name)
        job = _Job(work)
        worker.give(job)
        if not job.done.wait(limit_s):
            self._worker = None
            worker.leave()
            raise NotBackError(f"it was not back after {1e3 * limit_s:.0f} ms")
        return job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._worker.leave()
            self._worker = None


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: list[T] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def do(self) -> None:
        try:
            self._value.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            self._error = error
        self.done.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value[0]


class _Worker(Generic[T]):
    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._job: _Job[T] | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def give(self, job: _Job[T]) -> None:
        with self._changed:
            self._job = job
            self._changed.notify()

    def leave(self) -> None:
        """End once the present call is back; until then, be in nobody's way."""
        with self._changed:
            self._leaving = True
            self._changed.notify()
        with contextlib.suppress(OSError, TypeError):
            os.setpriority(os.PRIO_PROCESS, self._thread.native_id or 0, _NICE)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job is not None or self._leaving)
                job, self._job = self._job, None
            if job is None:
                return
            job.do()
