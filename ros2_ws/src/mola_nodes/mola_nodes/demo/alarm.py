"""An end for something that waits in many places: when its time is over, the main thread leaves it wherever it is."""

import signal
from types import FrameType, TracebackType
from typing import Self


class OverdueError(BaseException):
    """The time is over. As KeyboardInterrupt it is no Exception: nobody who mends errors on the way may keep it."""


class Alarm:
    """Raises OverdueError in the main thread, ``after_s`` after entering, unless it was left or called off before.

    It uses SIGALRM, hence the main thread only, and one at a time.

    Raises:
        ValueError: ``after_s`` is not positive.
    """

    def __init__(self, *, after_s: float) -> None:
        if not after_s > 0:
            raise ValueError(f"an alarm after {after_s:g} s never rings; give it a positive time")
        self._after_s = after_s

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._after_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call_off()
        signal.signal(signal.SIGALRM, self._before)

    def call_off(self) -> None:
        """Let what is still to be done take its time."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        raise OverdueError(f"not done within {self._after_s:g} s")
