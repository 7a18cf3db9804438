"""Checks of the machine itself: shared memory, real-time rights, governor, clock."""

import ctypes
import os
import resource
from collections.abc import Sequence
from pathlib import Path

from mola_core.cli.doctor.finding import Context, Finding, missing, note, ok

_SHM_NEEDED_MIB = 256
"""Fast DDS takes a segment of 16 MiB for each of about ten participants; the rest is for our own blocks."""
_WANTED_PRIORITY = 80
_TIME_ERROR = 5
_TIMEX_BYTES = 208


def shared_memory(_: Context) -> Sequence[Finding]:
    """Room for frames between processes."""
    facts = os.statvfs("/dev/shm")  # noqa: S108  # the mount, not a file in it
    free_mib = facts.f_bavail * facts.f_frsize // 2**20
    found = f"{free_mib} MiB free in /dev/shm"
    if free_mib >= _SHM_NEEDED_MIB:
        return [ok("shared memory", found)]
    cure = f"at least {_SHM_NEEDED_MIB} MiB: docker run --shm-size=1g, or remount /dev/shm with a larger size"
    return [missing("shared memory", found, cure)]


def real_time(_: Context) -> Sequence[Finding]:
    """Whether the servo process may use SCHED_FIFO and lock its memory."""
    cure = "in /etc/security/limits.d: @realtime - rtprio 90 and @realtime - memlock unlimited; docker run --cap-add=SYS_NICE"
    findings = []
    if _may_use_fifo():
        findings.append(ok("real-time priority", f"SCHED_FIFO {_WANTED_PRIORITY} is granted"))
    else:
        limit, _hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
        findings.append(note("real-time priority", f"SCHED_FIFO is refused (rtprio limit {limit})", cure))
    locked, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if locked == resource.RLIM_INFINITY or os.geteuid() == 0:
        findings.append(ok("locked memory", "unlimited"))
    else:
        findings.append(note("locked memory", f"{locked // 2**10} KiB", cure))
    realtime = Path("/sys/kernel/realtime")
    preemptible = realtime.is_file() and realtime.read_text(encoding="ascii").strip() == "1"
    kernel = f"{os.uname().release}, {'' if preemptible else 'not '}PREEMPT_RT"
    if preemptible:
        return [*findings, ok("kernel", kernel)]
    return [
        *findings,
        note("kernel", kernel, "for a rig: a real-time kernel (Ubuntu Pro, Debian linux-image-rt-amd64)"),
    ]


def _may_use_fifo() -> bool:
    """Try it in a child, whose scheduling nobody misses."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_WANTED_PRIORITY))
        except OSError:
            os._exit(1)
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def governor(_: Context) -> Sequence[Finding]:
    """Whether the CPU's clock follows the load, which delays wake-ups."""
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    found = {path.read_text(encoding="ascii").strip() for path in files}
    if not found:
        return [ok("CPU governor", "not in this machine's hands")]
    if found == {"performance"}:
        return [ok("CPU governor", "performance")]
    return [note("CPU governor", ", ".join(sorted(found)), "for a rig: sudo cpupower frequency-set -g performance")]


def clock(_: Context) -> Sequence[Finding]:
    """Whether the system clock is disciplined; stamps of two machines are compared."""
    libc = ctypes.CDLL(None)
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # struct timex with modes = 0 only reads
    state = libc.adjtimex(timex)
    if 0 <= state < _TIME_ERROR:
        return [ok("clock", "synchronised")]
    return [note("clock", "not synchronised", "needed where nodes run on several machines: apt-get install chrony")]
