"""Signals as bytes in a pipe, for a loop that runs in another thread than the main one."""

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def delivered_to(descriptor: int, signals: Collection[signal.Signals]) -> Iterator[None]:
    """Within the context each of ``signals`` writes its number, one byte, to the non-blocking ``descriptor``.

    Python runs a signal's handler in the main thread between two instructions; one that arrives just before that thread blocks on a
    lock would wait for ever. The byte is written at once. SIGINT comes through even where it was ignored, as it
    is for what a script starts with ``&``. To be entered in the main thread; without signals it does nothing, anywhere.
    """
    if not signals:
        yield
        return
    handlers = {number: signal.signal(number, _nothing) for number in signals}
    previous = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler must be there for the byte to be written."""
