"""Batches read ahead by threads, in an order that is a pure function of the position: nothing to save on stopping but a number.

Threads suffice: copying out of a memory map and decoding both leave the interpreter free.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mola_core.contracts.errors import ConfigError
from mola_core.data.batch import Batch
from mola_core.data.sample import SampleSource

_AHEAD = 2
"""Batches in the making for each worker."""


@dataclass(frozen=True, slots=True)
class ShuffledOrder:
    """An endless sequence of batches in which every epoch is a shuffle of its own; what does not fill a batch is left out of it."""

    num_samples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.num_samples:
            raise ConfigError(f"batch size {self.batch_size} is outside 1..{self.num_samples}, the samples there are")

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.num_samples // self.batch_size

    def batch(self, position: int) -> Int[np.ndarray, "B"]:
        """Sample numbers of one batch."""
        epoch, number = divmod(position, self.batches_per_epoch)
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)
        return shuffled[number * self.batch_size : (number + 1) * self.batch_size]

    def from_position(self, position: int) -> Iterator[Int[np.ndarray, "B"]]:
        """All batches from ``position`` on, without end."""
        for epoch in itertools.count(position // self.batches_per_epoch):
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)
            first = max(position - epoch * self.batches_per_epoch, 0)
            for number in range(first, self.batches_per_epoch):
                yield shuffled[number * self.batch_size : (number + 1) * self.batch_size]


def load_batches(source: SampleSource, order: Iterable[Int[np.ndarray, "B"]], *, workers: int) -> Iterator[Batch]:
    """The batches of ``order``, in order, read ahead by ``workers`` threads (0: none). Closing the iterator stops them."""
    if workers == 0:
        for indices in order:
            yield source.batch(indices.tolist())
        return
    waiting: deque[Future[Batch]] = deque()
    numbers = iter(order)
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        try:
            for indices in itertools.islice(numbers, workers * _AHEAD):
                waiting.append(pool.submit(source.batch, indices.tolist()))
            while waiting:
                batch = waiting.popleft().result()
                for indices in itertools.islice(numbers, 1):
                    waiting.append(pool.submit(source.batch, indices.tolist()))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
