"""A demo at the pace that the machine keeps: slower cameras where the idle graph leaves too little for a policy and a moving arm."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S, SystemClock
from mola_nodes.demo.cpu_quota import cpu_quota
from mola_nodes.running_twin import RunningTwin

SLOW_FPS = 15
TOO_BUSY = 0.7
"""Of the processor time that there is for us, while the graph is up and nothing moves."""
_SETTLE_S, _WATCH_S = 1.0, 2.0
_STAT = Path("/proc/stat")


@contextlib.contextmanager
def paced_twin(
    *, log_path: Path, host: str, fps: int | None, arguments: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[RunningTwin]:
    """A running twin; without ``fps`` at the rate of the site's cameras, or at SLOW_FPS where that keeps the machine TOO_BUSY.

    Raises:
        MolaError: the graph does not come up.
    """
    with contextlib.ExitStack() as stack:
        twin = stack.enter_context(RunningTwin(log_path=log_path, host=host, fps=fps, arguments=arguments))
        busy = 0.0 if fps is not None else busy_share()
        if busy > TOO_BUSY:
            say(
                f"the idle graph takes {100 * busy:.0f} % of this machine: bringing it up again with cameras at {SLOW_FPS} Hz"
            )
            stack.close()
            twin = stack.enter_context(RunningTwin(log_path=log_path, host=host, fps=SLOW_FPS, arguments=arguments))
        yield twin


def busy_share() -> float:
    """How much of all cores' time was used, watched for a few seconds; of what a quota grants us where there is one."""
    clock, quota = SystemClock(), cpu_quota()

    def times() -> tuple[float, float]:
        return _cpu_times() if quota is None else (quota.used_ns(), quota.cores * clock.monotonic_ns())

    clock.sleep_until(clock.monotonic_ns() + round(_SETTLE_S * NS_PER_S))
    used, all_of_it = times()
    clock.sleep_until(clock.monotonic_ns() + round(_WATCH_S * NS_PER_S))
    used_then, all_then = times()
    return (used_then - used) / max(all_then - all_of_it, 1)


def _cpu_times() -> tuple[int, int]:
    """(used, all) since boot over all cores, in the kernel's ticks."""
    user, nice, system, idle, io_wait, *others = (int(word) for word in _STAT.read_text().splitlines()[0].split()[1:9])
    used = user + nice + system + sum(others)
    return used, used + idle + io_wait
