"""Depth counts of a sensor to the millimetres of :class:`mola_core.contracts.types.Frame`."""

import numpy as np
from jaxtyping import UInt16

_MM_PER_M = 1000.0


def depth_in_mm(
    counts: UInt16[np.ndarray, "height width"], *, depth_unit_m: float
) -> UInt16[np.ndarray, "height width"]:
    """A copy of ``counts`` in millimetres, rounded; what does not fit 16 bits becomes 0, unknown."""
    mm_per_count = depth_unit_m * _MM_PER_M
    if abs(mm_per_count - 1.0) < 1e-6:
        return counts.copy()
    millimetres = np.rint(counts * np.float32(mm_per_count))
    millimetres[millimetres > np.iinfo(np.uint16).max] = 0
    return millimetres.astype(np.uint16)
