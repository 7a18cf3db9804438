"""How old the world is when the arm acts on it: hops collected over a window, then reported and forgotten."""

from collections.abc import Sequence

from mola_interfaces.msg import LatencyHop, LatencyReport

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.quantiles import quantiles
from mola_nodes.conversions.wire import duration_from_ns, time_from_ns


class LatencyWindow:
    """Samples by hop; belongs to the executor's thread."""

    def __init__(self, *, now_ns: int) -> None:
        self._samples_ns: dict[str, list[int]] = {}
        self._start_ns = now_ns
        self._oldest_ns: int | None = None

    def add(self, hop: str, *, start_ns: int, end_ns: int) -> None:
        """One passage; stamps on the host's epoch."""
        self._samples_ns.setdefault(hop, []).append(end_ns - start_ns)
        if self._oldest_ns is None or start_ns < self._oldest_ns:
            self._oldest_ns = start_ns

    def report(self, *, now_ns: int, first: Sequence[LatencyHop]) -> LatencyReport:
        """The message for the window that ends now, ``first`` ahead of the collected hops; starts the next window."""
        hops = [_hop(name, samples_ns) for name, samples_ns in self._samples_ns.items()]
        message = LatencyReport(
            version=LatencyReport.VERSION,
            stamp=time_from_ns(now_ns if self._oldest_ns is None else self._oldest_ns),
            window=duration_from_ns(now_ns - self._start_ns),
            hops=[*first, *hops],
        )
        self._samples_ns.clear()
        self._start_ns, self._oldest_ns = now_ns, None
        return message


def _hop(name: str, samples_ns: Sequence[int]) -> LatencyHop:
    p50, p99 = quantiles(samples_ns, 0.5, 0.99)
    return latency_hop(name, count=len(samples_ns), p50_ns=p50, p99_ns=p99, max_ns=max(samples_ns))


def latency_hop(name: str, *, count: int, p50_ns: float, p99_ns: float, max_ns: float) -> LatencyHop:
    """One hop's figures as a message."""
    return LatencyHop(
        name=name,
        count=count,
        p50_ms=float(p50_ns) / NS_PER_MS,
        p99_ms=float(p99_ns) / NS_PER_MS,
        max_ms=float(max_ns) / NS_PER_MS,
    )
