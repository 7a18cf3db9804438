"""What a process can ask of the operating system to be on time. Each request may be refused, and then says so."""

import ctypes
import gc
import os

from mola_core.contracts.errors import ConfigError

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_libc = ctypes.CDLL(None, use_errno=True)


def freeze_garbage_collector() -> None:
    """Collect once, then never again in this process: a collection takes longer than a tick."""
    gc.collect()
    gc.freeze()
    gc.disable()


def settle_garbage_collector() -> None:
    """Collect once; what has survived lives for good, and later collections do not look at it.

    A full collection of a process of ROS otherwise stops all its threads for about a tenth of a second, whenever it comes.
    """
    gc.collect()
    gc.freeze()


def lock_memory() -> str:
    """Keep every page of this process in memory; returns why not, empty on success."""
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return ""
    return f"memory is not locked ({os.strerror(ctypes.get_errno())}); allow it with CAP_IPC_LOCK or a memlock limit"


def use_fifo_scheduling(priority: int) -> str:
    """Run before every ordinary process, at ``priority`` 1..90; 0 asks for nothing. Returns why not, empty on success.

    Threads started afterwards inherit it.
    """
    if priority == 0:
        return "default scheduling (realtime_priority is 0 in the site file)"
    if not 1 <= priority <= 90:
        raise ConfigError(f"realtime_priority = {priority} is outside 1..90")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return f"SCHED_FIFO {priority} was refused; allow it with CAP_SYS_NICE or an rtprio limit of {priority}"
    return ""


def signal_on_parent_death(number: int) -> None:
    """Have the kernel send signal ``number`` to this process when the *thread* that started it ends."""
    if _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def sharpen_timers() -> None:
    """Wake up when asked to: Linux otherwise bundles wake-ups of ordinary processes within 50 us."""
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
