"""Quantiles of a few hundred figures, for whoever reports while the robot moves.

numpy's own import their masked arrays at their first call: a third of a second, in which no thread of the process moves.
"""

import math
from collections.abc import Iterable


def quantiles(values: Iterable[float], *shares: float) -> tuple[float, ...]:
    """For each of ``shares`` (0..1) the value below which that part of ``values`` lies, interpolated linearly as numpy does.

    Raises:
        ValueError: there are no values.
    """
    ordered = sorted(float(value) for value in values)
    if not ordered:
        raise ValueError("quantiles of nothing")
    return tuple(_at(ordered, share * (len(ordered) - 1)) for share in shares)


def _at(ordered: list[float], place: float) -> float:
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
