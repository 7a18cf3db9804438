"""Two clocks, injected wherever time matters.

Stamps are integers of nanoseconds since the Unix epoch, comparable between processes and, with a disciplined
clock, between machines. Deadlines are monotonic: a stepped system clock makes stamps look stale (the arm
stops), it never makes the servo loop hurry.
"""

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """Source of stamps and deadlines."""

    def now_ns(self) -> int:
        """Current stamp: nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never steps; its zero means nothing."""
        ...

    def sleep_until(self, deadline_ns: int) -> None:
        """Block until ``monotonic_ns()`` reaches ``deadline_ns``; return at once if it has passed."""
        ...


class SystemClock:
    """The machine's clocks (CLOCK_REALTIME and CLOCK_MONOTONIC)."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        remaining_ns = deadline_ns - time.monotonic_ns()
        if remaining_ns > 0:
            # CPython >= 3.11 sleeps with clock_nanosleep on an absolute monotonic deadline.
            time.sleep(remaining_ns / NS_PER_S)


class FakeClock:
    """A clock that moves only when told to; sleeping advances it. For tests and lockstep simulation."""

    def __init__(self, start_ns: int = NS_PER_S) -> None:
        self._elapsed_ns = 0
        self._start_ns = start_ns

    def now_ns(self) -> int:
        return self._start_ns + self._elapsed_ns

    def monotonic_ns(self) -> int:
        return self._elapsed_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self._elapsed_ns = max(self._elapsed_ns, deadline_ns)

    def advance(self, duration_ns: int) -> None:
        """Move both clocks forward by ``duration_ns`` (>= 0)."""
        if duration_ns < 0:
            raise ValueError(f"a clock cannot go back: duration_ns={duration_ns}")
        self._elapsed_ns += duration_ns
