"""How far a long command is, and how much longer it takes: one rewritten line on a terminal, a line now and then elsewhere."""

import sys
from typing import TextIO

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock

_LINE_EVERY_NS = 15 * NS_PER_S
_REDRAW_EVERY_NS = NS_PER_S // 10


class Progress:
    """Counts towards ``total``; what was done before (by an earlier, interrupted run) does not count for the time left."""

    def __init__(
        self,
        title: str,
        *,
        total: int,
        done: int = 0,
        stream: TextIO | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._title, self._total, self._before, self._done = title, total, done, done
        self._stream = stream or sys.stderr
        self._clock = clock or SystemClock()
        self._begin_ns = self._clock.monotonic_ns()
        self._shown_ns: int | None = None
        self._terminal = self._stream.isatty()

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """``count`` more are done; shown at once on a terminal, and rarely elsewhere."""
        self._done += count
        now_ns = self._clock.monotonic_ns()
        every_ns = _REDRAW_EVERY_NS if self._terminal else _LINE_EVERY_NS
        finished = self._done >= self._total
        if not finished and self._shown_ns is not None and now_ns - self._shown_ns < every_ns:
            return
        self._shown_ns = now_ns
        line = self.line(note=note)
        end = "\n" if finished or not self._terminal else ""
        self._stream.write(f"\r\x1b[2K{line}{end}" if self._terminal else f"{line}{end}")
        self._stream.flush()

    def line(self, *, note: str = "") -> str:
        """Title, count and the time left, as text."""
        parts = [f"{self._title}: {self._done}/{self._total}"]
        left_s = self.left_s()
        if left_s is not None:
            parts.append(f"{_duration(left_s)} left")
        return ", ".join([*parts, note] if note else parts)

    def left_s(self) -> float | None:
        """Seconds left at the pace so far; None before there is one."""
        here = self._done - self._before
        if here <= 0 or self._done >= self._total:
            return None
        elapsed_s = (self._clock.monotonic_ns() - self._begin_ns) / NS_PER_S
        return elapsed_s / here * (self._total - self._done)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
