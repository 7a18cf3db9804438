"""What the processes of one training tell each other inside a network; alone, a process keeps what it has.

Every process must ask for the same things in the same order, and hold equally many items of the batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def num_processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def total(value: Tensor) -> Tensor:
    """The sum over all processes, on each of them; gradients pass."""
    if num_processes() == 1:
        return value
    out: Tensor = _Total.apply(value)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return out


@torch.no_grad()
def joined(rows: Float[Tensor, "n *rest"]) -> Float[Tensor, "all *rest"]:
    """The rows of all processes in the order of their ranks, which is that of the whole batch; without gradients."""
    if num_processes() == 1:
        return rows.detach()
    each = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(num_processes())]
    dist.all_gather(each, rows.detach().contiguous())
    return torch.cat(each)


@torch.no_grad()
def as_first_has_it(value: Tensor) -> Tensor:
    """``value`` of the first process, in place on every other."""
    if num_processes() > 1:
        dist.broadcast(value, src=0)
    return value


class _Total(torch.autograd.Function):
    """A sum whose every term is in every process's loss: gradients are summed as well."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(value: Tensor) -> Tensor:
    out = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(out)
    return out
