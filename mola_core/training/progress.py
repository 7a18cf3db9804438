"""What people see of a running stage."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock

_LINE_EVERY_S = 30


class Reporter(Protocol):
    """Follows a stage, or the filling of a cache, from outside."""

    def begin(self, what: str, *, done: int, total: int) -> None: ...

    def advance(self, *, done: int, note: str = "") -> None: ...

    def event(self, text: str) -> None: ...

    def end(self) -> None: ...


class SilentReporter:
    """For tests, and for processes other than the first."""

    def begin(self, what: str, *, done: int, total: int) -> None:
        pass

    def advance(self, *, done: int, note: str = "") -> None:
        pass

    def event(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class ConsoleReporter:
    """A bar with the time left on a terminal; elsewhere a line now and then."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._console = Console(file=sys.stderr)
        self._clock = clock or SystemClock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._total, self._last_line_ns = "", 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self, what: str, *, done: int, total: int) -> None:
        self.end()
        self._what, self._total = what, total
        self._last_line_ns = self._clock.monotonic_ns()
        if not self._console.is_terminal:
            self._console.print(f"{what}: {done} of {total}")
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=self._console)
        self._task = self._progress.add_task(what, total=total, completed=done, note="")
        self._progress.start()

    def advance(self, *, done: int, note: str = "") -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, note=note)
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._last_line_ns >= _LINE_EVERY_S * NS_PER_S or done == self._total:
            self._last_line_ns = now_ns
            self._console.print(f"{self._what}: {done} of {self._total} {note}".rstrip())

    def event(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None
