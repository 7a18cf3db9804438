"""What ``/mola/latency`` has said of each hop over some time, in three figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mola_interfaces.msg import LatencyReport


@dataclass(frozen=True, slots=True)
class HopFigures:
    """One passage of a message, over the windows of a second in which it was counted.

    Windows come as quantiles, from which those of the whole time do not follow; hence the two below, each for what it is.
    """

    name: str
    count: int
    """Passages."""
    p50_ms: float
    """Of the median window."""
    p99_ms: float
    """Of the worst window: the whole time's is not higher."""
    max_ms: float


def hops_of(reports: Sequence[LatencyReport]) -> tuple[HopFigures, ...]:
    """Every hop of ``reports`` through which anything passed; the whole path, camera to servo, comes first where it is known."""
    windows = [hop for report in reports for hop in report.hops if hop.count]
    order = dict.fromkeys(hop.name for report in reports for hop in report.hops)
    return tuple(
        HopFigures(
            name=name,
            count=sum(hop.count for hop in heard),
            p50_ms=median(hop.p50_ms for hop in heard),
            p99_ms=max(hop.p99_ms for hop in heard),
            max_ms=max(hop.max_ms for hop in heard),
        )
        for name in order
        if (heard := [hop for hop in windows if hop.name == name])
    )
