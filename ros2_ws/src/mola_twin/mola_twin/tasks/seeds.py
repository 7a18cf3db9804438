"""Which seeds are whose. A policy is never evaluated on a start that it was trained on, because the two ranges never meet."""

from mola_core.contracts.errors import ConfigError

EVALUATION_SEEDS = range(1_000)
"""Starts of evaluations, and of everything that people look at."""
TRAINING_SEEDS = range(10_000, 2**31)
"""Starts of demonstrations."""


def require_training_seeds(first: int, count: int) -> range:
    """``count`` seeds from ``first`` on.

    Raises:
        ConfigError: not all of them are for training.
    """
    seeds = range(first, first + count)
    if count < 1 or seeds[0] not in TRAINING_SEEDS or seeds[-1] not in TRAINING_SEEDS:
        raise ConfigError(
            f"seeds {first}..{first + count - 1} are not all for training; demonstrations use {TRAINING_SEEDS.start} and above, "
            f"evaluations 0..{EVALUATION_SEEDS.stop - 1}"
        )
    return seeds
