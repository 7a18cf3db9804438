"""Whole datasets in a GPU's memory, where they fit: a batch is then looked up instead of copied, and no worker process is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from mola_core.training.checks import free_memory
from mola_core.training.distributed import World
from mola_core.training.stage import Batch, BatchSource

_LARGEST_SHARE = 0.5
"""Of the free memory; activations need the rest."""
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Field:
    """One tensor of a batch, as rows of a table."""

    tables: Sequence[Shaped[np.ndarray, "rows *shape"]]
    """One after the other they are the table; may be memory-mapped."""
    rows: Int[np.ndarray, "n *places"]
    """For every sample, which rows of the table it is made of."""

    @property
    def num_bytes(self) -> int:
        return sum(table.nbytes for table in self.tables) + self.rows.nbytes


@runtime_checkable
class Tabular(Protocol):
    """A source whose samples are rows of tables."""

    def fields(self) -> Mapping[str, Field] | None:
        """By the batch's names; None where the tables do not exist, because pictures are decoded when they are needed."""
        ...


class ResidentSource:
    """A ``BatchSource`` whose batches are on the device already."""

    resident = True

    def __init__(self, fields: Mapping[str, Field], *, device: torch.device) -> None:
        self._size = len(next(iter(fields.values())).rows)
        self._device = device
        self._tables = {name: _placed(field.tables, device=device) for name, field in fields.items()}
        self._rows = {name: torch.from_numpy(field.rows).to(device) for name, field in fields.items()}

    def __len__(self) -> int:
        return self._size

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        numbers = torch.from_numpy(np.asarray(indices)).to(self._device, non_blocking=True)
        return {name: table[self._rows[name][numbers]] for name, table in self._tables.items()}


def resident(sources: Sequence[BatchSource], world: World) -> list[BatchSource]:
    """``sources`` on the GPU where there is one, all of them can be tabulated, and they fit; else as they are."""
    if world.device.type != "cuda":
        return list(sources)
    tabulated = [source.fields() if isinstance(source, Tabular) else None for source in sources]
    fields = [each for each in tabulated if each is not None]
    needed = sum(field.num_bytes for each in fields for field in each.values())
    if len(fields) < len(sources) or needed > _LARGEST_SHARE * free_memory(world.device):
        return list(sources)
    return [ResidentSource(each, device=world.device) for each in fields]


def arranged(values: Shaped[np.ndarray, "n *shape"]) -> Field:
    """A table with a row of its own for every sample."""
    return Field(tables=(values,), rows=np.arange(len(values)))


def _placed(tables: Sequence[Shaped[np.ndarray, "rows *shape"]], *, device: torch.device) -> Tensor:
    first = tables[0]
    dtype = torch.from_numpy(np.empty(0, first.dtype)).dtype
    whole = torch.empty((sum(len(table) for table in tables), *first.shape[1:]), dtype=dtype, device=device)
    begin = 0
    for table in tables:
        for at in range(0, len(table), _ROWS_AT_ONCE):
            block = torch.from_numpy(np.array(table[at : at + _ROWS_AT_ONCE]))
            whole[begin + at : begin + at + len(block)] = block.to(device)
        begin += len(table)
    return whole
