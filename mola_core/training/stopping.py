"""Stopping a long run between two steps: on Ctrl-C, on SIGTERM, or when its time is up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether training should save and stop; ``after_s`` seconds from now at the latest."""

    def __init__(self, *, after_s: float | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._deadline_ns = None if after_s is None else self._clock.monotonic_ns() + round(after_s * NS_PER_S)
        self._asked = False

    @property
    def requested(self) -> bool:
        """Asked for, or out of time."""
        return self._asked or (self._deadline_ns is not None and self._clock.monotonic_ns() >= self._deadline_ns)

    def ask(self) -> None:
        """Stop after the present step."""
        self._asked = True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM inside asks; a second one interrupts at once."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
