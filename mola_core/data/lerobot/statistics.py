"""Statistics in LeRobot's form: per column min, max, mean, std, count and five quantiles, of an episode and of all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Num, UInt8

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Stats = dict[str, Any]
"""Name of a statistic → nested list of numbers."""

_LEVELS = 256
_EVERY_ROWS = 5
_EVERY_PIXELS = 2


def column_stats(values: Num[np.ndarray, "rows width"]) -> Stats:
    """Exact statistics of a column over an episode (>= 1 row)."""
    numbers = values.astype(np.float64)
    stats: Stats = {
        "min": numbers.min(axis=0).tolist(),
        "max": numbers.max(axis=0).tolist(),
        "mean": numbers.mean(axis=0).tolist(),
        "std": numbers.std(axis=0).tolist(),
        "count": [len(numbers)],
    }
    for name, fraction in QUANTILES.items():
        stats[name] = np.quantile(numbers, fraction, axis=0).tolist()
    return stats


class ImageStats:
    """Statistics of a camera over an episode, from every fifth frame and every second pixel each way; values in 0..1."""

    def __init__(self) -> None:
        self._histogram = np.zeros((3, _LEVELS), dtype=np.int64)
        self._rows = 0
        self._sampled = 0

    def add(self, image: UInt8[np.ndarray, "height width 3"]) -> None:
        """Take the next frame into account."""
        if self._rows % _EVERY_ROWS == 0:
            sample = image[::_EVERY_PIXELS, ::_EVERY_PIXELS]
            for channel in range(3):
                self._histogram[channel] += np.bincount(sample[..., channel].ravel(), minlength=_LEVELS)
            self._sampled += 1
        self._rows += 1

    def result(self) -> Stats:
        """Per channel, as 3 × 1 × 1; needs a frame at least."""
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        share = self._histogram / self._histogram.sum(axis=1, keepdims=True)
        seen = self._histogram > 0
        mean = share @ levels
        values = {
            "min": levels[seen.argmax(axis=1)],
            "max": levels[_LEVELS - 1 - seen[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0)),
        }
        cumulated = share.cumsum(axis=1)
        for name, fraction in QUANTILES.items():
            values[name] = levels[(cumulated >= fraction - 1e-12).argmax(axis=1)]
        return {name: value.reshape(3, 1, 1).tolist() for name, value in values.items()} | {"count": [self._sampled]}


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """Statistics of all episodes from those of each: exact, but for the quantiles, which are averaged as LeRobot does."""
    arrays = {name: np.array([part[name] for part in parts], dtype=np.float64) for name in parts[0]}
    count = arrays["count"].reshape(-1)
    weights = count / count.sum()

    def average(values: np.ndarray) -> np.ndarray:
        averaged: np.ndarray = np.tensordot(weights, values, axes=1)
        return averaged

    mean = average(arrays["mean"])
    merged: Stats = {
        "min": arrays["min"].min(axis=0).tolist(),
        "max": arrays["max"].max(axis=0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(average(arrays["std"] ** 2 + (arrays["mean"] - mean) ** 2)).tolist(),
        "count": [int(count.sum())],
    }
    return merged | {name: average(arrays[name]).tolist() for name in QUANTILES}
