"""The noise that a policy starts from: seeded, drawn on the host, the same for every runner."""

import numpy as np
from jaxtyping import Float
from numpy.random import default_rng  # numpy itself imports it at its first use: not while the robot moves

_VIDEO, _ACTION = 0, 1


def video_noise(seed: int, *, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    """Unit variance, float32: where the imagination starts."""
    return _noise(seed, _VIDEO, shape)


def action_noise(seed: int, *, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    """Unit variance, float32: where the action head starts."""
    return _noise(seed, _ACTION, shape)


class SeedCounter:
    """Counts on where no seed is given."""

    def __init__(self, start: int = 0) -> None:
        self._next = start

    def take(self, seed: int | None) -> int:
        """``seed``, or the next of our own."""
        if seed is not None:
            return seed
        self._next += 1
        return self._next - 1


def _noise(seed: int, stream: int, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    return default_rng([seed, stream]).standard_normal(shape, dtype=np.float32)
