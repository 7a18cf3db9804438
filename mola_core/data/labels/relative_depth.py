"""Depth of which only the order and the proportions are known, as monocular depth models give it, on one scale for all frames.

Such a map is the true inverse depth times a factor plus an offset, both of that frame alone (MiDaS, Ranftl et al. 2020; Depth
Anything, Yang et al. 2024); larger is nearer. Both are taken out as those papers do before they compare maps: the median becomes 0 and
the mean absolute deviation from it 1.
"""

import numpy as np
from jaxtyping import Bool, Float32

_FLAT = 1e-6
"""A deviation below this share of the largest number is rounding: the frame is flat, and stays 0."""


def standardised(
    maps: Float32[np.ndarray, "frames h w"], *, known: Bool[np.ndarray, "frames h w"]
) -> Float32[np.ndarray, "frames h w"]:
    """Each of ``maps`` by its own known cells; 0 where nothing is known."""
    result = np.zeros(maps.shape, np.float32)
    for frame, (values, there) in enumerate(zip(maps, known, strict=True)):
        seen = values[there].astype(np.float64)
        if not len(seen):
            continue
        offsets = seen - np.median(seen)
        deviation = np.abs(offsets).mean()
        if deviation > _FLAT * np.abs(seen).max():
            result[frame][there] = offsets / deviation
    return result
