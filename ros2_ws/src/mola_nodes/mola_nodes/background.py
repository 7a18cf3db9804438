"""Threads that must not be in the way of those that move the arm."""

import contextlib
import os
import threading

from mola_core.control.realtime import run_in_turn

_NICE = 10


def come_last() -> None:
    """Let the calling thread run on what the others leave."""
    run_in_turn()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
