"""What a half says of its runs: how long they took, and what a swap did to their cadence."""

import threading
from collections import deque
from dataclasses import dataclass

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.quantiles import quantiles

_WINDOW = 200
_CADENCE_WINDOW = 20


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Milliseconds; negative where nothing ran."""

    runs: int = 0
    p50_ms: float = -1.0
    p99_ms: float = -1.0
    max_ms: float = -1.0
    swap_gap_ms: float = -1.0


class RunTally:
    """Noted by the inference thread, read by the reporting one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations_ms: deque[float] = deque(maxlen=_WINDOW)
        self._intervals_ms: deque[float] = deque(maxlen=_CADENCE_WINDOW)
        self._bundle_id = ""
        self._runs = 0
        self._last_ns: int | None = None
        self._swap_gap_ms = -1.0

    def note(self, bundle_id: str, *, duration_ms: float, now_ns: int) -> None:
        """A run of ``bundle_id`` that took ``duration_ms`` has given its result at ``now_ns`` (monotonic)."""
        with self._lock:
            interval_ms = None if self._last_ns is None else (now_ns - self._last_ns) / NS_PER_MS
            if self._bundle_id and bundle_id != self._bundle_id and interval_ms is not None and self._intervals_ms:
                self._swap_gap_ms = max(interval_ms - quantiles(self._intervals_ms, 0.5)[0], 0.0)
                self._durations_ms.clear()
                self._runs = 0
            elif interval_ms is not None:
                self._intervals_ms.append(interval_ms)
            self._bundle_id, self._last_ns = bundle_id, now_ns
            self._durations_ms.append(duration_ms)
            self._runs += 1

    def pause(self) -> None:
        """Nothing is asked for; the time until the next run is no gap."""
        with self._lock:
            self._last_ns = None

    def figures(self) -> RunFigures:
        """Over the last runs of the bundle in service."""
        with self._lock:
            if not self._durations_ms:
                return RunFigures(swap_gap_ms=self._swap_gap_ms)
            p50, p99 = quantiles(self._durations_ms, 0.5, 0.99)
            return RunFigures(
                runs=self._runs,
                p50_ms=p50,
                p99_ms=p99,
                max_ms=max(self._durations_ms),
                swap_gap_ms=self._swap_gap_ms,
            )
