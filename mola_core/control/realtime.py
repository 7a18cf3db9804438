"""What a process can ask of the operating system to be on time. Each request may be refused, and then says so."""

import ctypes
import gc
import os
import platform
import threading

from mola_core.contracts.errors import ConfigError

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, which the C library does not wrap."""
_SHORTEST_SLICE_NS = 100_000
_libc = ctypes.CDLL(None, use_errno=True)


class _SchedAttr(ctypes.Structure):
    """``struct sched_attr`` of sched_setattr(2)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def freeze_garbage_collector() -> None:
    """Collect once, then never again in this process: a collection takes longer than a tick."""
    gc.collect()
    gc.freeze()
    gc.disable()


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


def run_soon() -> str:
    """Let this thread, and those that it starts, run as soon as they wake up, in short turns; their share of the processor stays the
    same. For those that have a deadline and little to do. Needs no permission; returns why not, empty on success.

    Linux from 6.12 on gives an ordinary thread the processor the sooner, the shorter the turn that it asks for. On two busy cores the
    usual turns delay a wake-up by 20 to 60 ms now and then. Older kernels accept the wish and ignore it.
    """
    return _ask_for_turns(_SHORTEST_SLICE_NS)


def run_in_turn() -> str:
    """The opposite of :func:`run_soon`, for a thread that computes for long in a process that is in a hurry."""
    return _ask_for_turns(0)


def _ask_for_turns(slice_ns: int) -> str:
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        return ""  # it has asked for more already
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return f"the length of a turn cannot be chosen on {platform.machine()}"
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    attributes = _SchedAttr(size=ctypes.sizeof(_SchedAttr), policy=os.SCHED_OTHER, nice=nice, runtime=slice_ns)
    if _libc.syscall(number, 0, ctypes.byref(attributes), 0) == 0:
        return ""
    return f"the length of a turn was refused ({os.strerror(ctypes.get_errno())})"


def signal_on_parent_death(number: int) -> None:
    """Have the kernel send signal ``number`` to this process when the *thread* that started it ends."""
    if _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def sharpen_timers() -> None:
    """Wake up when asked to: Linux otherwise bundles wake-ups of ordinary processes within 50 us."""
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
