"""Figures of phases that never were."""

from typing import Any

from mola_nodes.bench.phases import PhaseFigures


def phase(**changes: Any) -> PhaseFigures:
    """A calm one, but for ``changes``."""
    values: dict[str, Any] = {
        "seconds": 30.0,
        "ticks": 15_000,
        "deadline_misses": 240,
        "miss_percent": 1.6,
        "stops": 0,
        "late_stops": 0,
        "commands_per_s": 500.0,
        "refused": 0,
        "path_m": 1.25,
        "decisions": 420,
        "decisions_per_s": 15.2,
        "interval_p50_ms": 66.0,
        "interval_p99_ms": 93.0,
        "interval_max_ms": 114.0,
    }
    return PhaseFigures(**(values | changes))
