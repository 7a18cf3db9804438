"""Threads that must not be in the way of those that move the arm."""

import contextlib
import os
import threading

_NICE = 10


def come_last() -> None:
    """Let the calling thread run on what the others leave."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
