"""From sample numbers to batches, read ahead by worker processes where there are some."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset

from mola_core.training.order import Parts, SampleOrder
from mola_core.training.stage import Batch, BatchSource


@dataclass(frozen=True)
class _Keys:
    """The sample numbers of every part from ``first_step`` on, for one process."""

    order: SampleOrder
    parts: Parts
    rank: int
    first_step: int
    steps: int

    def __iter__(self) -> Iterator[Int[np.ndarray, "part"]]:
        for step in range(self.first_step, self.steps):
            whole = self.order.batch(step)
            for places in self.parts.places(rank=self.rank):
                yield whole[places.start : places.stop]

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.parts.accumulate


class _ByKey(Dataset[Batch]):
    def __init__(self, source: BatchSource) -> None:
        self._source = source

    def __getitem__(self, key: Int[np.ndarray, "part"]) -> Batch:
        return self._source.batch(key)


def _as_it_is(batch: Any) -> Any:
    return batch


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
) -> Iterator[list[Batch]]:
    """For each step from ``first_step`` to ``steps``, its parts for process ``rank``; ``workers`` processes read ahead."""
    keys = _Keys(order=order, parts=parts, rank=rank, first_step=first_step, steps=steps)
    loader = DataLoader(
        _ByKey(source),
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # its own: the global one belongs to the steps
    )
    stream = iter(loader)
    for _ in range(first_step, steps):
        yield [next(stream) for _ in range(parts.accumulate)]


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the objective is."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
