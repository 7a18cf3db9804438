"""From sample numbers to batches, read ahead by threads where there are some.

Threads, not processes: copying out of a memory map and decoding both leave the interpreter free, a batch need not be sent from one
process to another, and a process that has decoded in threads must not fork: a decoder's locks would stay closed in the child for good.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Int

from mola_core.training.order import Parts, SampleOrder
from mola_core.training.stage import Batch, BatchSource

Keys = Int[np.ndarray, "part"]
_AHEAD = 2
"""Batches in the making for each worker."""


@dataclass(frozen=True)
class _KeysOfParts:
    """The sample numbers of every part from ``first_step`` on, for one process."""

    order: SampleOrder
    parts: Parts
    rank: int
    first_step: int
    steps: int

    def __iter__(self) -> Iterator[Keys]:
        for step in range(self.first_step, self.steps):
            whole = self.order.batch(step)
            for places in self.parts.places(rank=self.rank):
                yield whole[places.start : places.stop]


def parts_of_steps(
    source: BatchSource,
    *,
    order: SampleOrder,
    parts: Parts,
    rank: int,
    first_step: int,
    steps: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> Generator[list[Batch], None, None]:
    """For each step from ``first_step`` to ``steps``, its parts for process ``rank``; ``workers`` threads read ahead (0: none).

    Raises:
        DataError: what ``source`` says of bad data, when the step that needs them is reached.
    """

    def make(key: Keys) -> Batch:
        batch = source.batch(key)
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if pin_memory else batch

    keys = _KeysOfParts(order=order, parts=parts, rank=rank, first_step=first_step, steps=steps)
    with closing(_made_ahead(make, keys, workers=workers)) as stream:
        for _ in range(first_step, steps):
            yield list(islice(stream, parts.accumulate))


def _made_ahead(make: Callable[[Keys], Batch], keys: Iterable[Keys], *, workers: int) -> Generator[Batch, None, None]:
    """``make`` of each of ``keys``, in order. Closing the iterator stops the threads."""
    if not workers:
        yield from map(make, keys)
        return
    left = iter(keys)
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        try:
            waiting.extend(pool.submit(make, key) for key in islice(left, workers * _AHEAD))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(make, key) for key in islice(left, 1))
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the objective is."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
