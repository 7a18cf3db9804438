"""Percentiles of durations, counted as they happen: constant memory, constant time, no allocation."""

from dataclasses import dataclass

_BUCKETS_PER_OCTAVE = 8
_NUM_BUCKETS = 40 * _BUCKETS_PER_OCTAVE


@dataclass(frozen=True, slots=True)
class DurationSummary:
    """Percentiles in nanoseconds; all zero while nothing was counted."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class DurationHistogram:
    """Logarithmic buckets, eight to an octave: percentiles are exact to 1/8, the largest value is exact."""

    def __init__(self) -> None:
        self._counts = [0] * _NUM_BUCKETS
        self._total = 0
        self._max_ns = 0
        self.last_ns = 0

    @property
    def count(self) -> int:
        """How many were counted."""
        return self._total

    def add(self, duration_ns: int) -> None:
        """Count one duration; negative ones count as zero."""
        self._counts[_bucket(duration_ns)] += 1
        self._total += 1
        self.last_ns = duration_ns
        self._max_ns = max(self._max_ns, duration_ns)

    def summary(self) -> DurationSummary:
        """Percentiles of everything counted so far; upper edges of the buckets they fall into."""
        return DurationSummary(self._total, self._percentile(0.50), self._percentile(0.99), self._max_ns)

    def clear(self) -> None:
        """Begin a new window."""
        self._counts = [0] * _NUM_BUCKETS
        self._total = self._max_ns = 0

    def _percentile(self, fraction: float) -> int:
        wanted, seen = fraction * self._total, 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(_upper_edge(bucket), self._max_ns)
        return 0


def _bucket(duration_ns: int) -> int:
    if duration_ns < _BUCKETS_PER_OCTAVE:
        return max(0, duration_ns)
    octave = duration_ns.bit_length() - 4
    return min(_NUM_BUCKETS - 1, (octave << 3) + (duration_ns >> octave))


def _upper_edge(bucket: int) -> int:
    if bucket < 2 * _BUCKETS_PER_OCTAVE:
        return bucket
    octave = (bucket >> 3) - 1
    return ((bucket - (octave << 3) + 1) << octave) - 1
