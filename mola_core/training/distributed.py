"""One process or many (``torchrun``): who we are, averaging over all, and the two ways to spread a model."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from mola_core.contracts.errors import ConfigError

Spread = Literal["replicate", "shard"]
"""``replicate``: every process holds all weights (DDP); ``shard``: each holds a part of them (FSDP2), where they fit no other way."""


_PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: the first one may be decoding a whole dataset."""


@dataclass(frozen=True)
class World:
    """Our process among all."""

    rank: int
    size: int
    device: torch.device
    spread: Spread = "replicate"

    @property
    def is_main(self) -> bool:
        """The one that writes files and speaks to people."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Sum over all processes, on each of them; without gradients."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def mean(self, value: Tensor) -> Tensor:
        """Average over all processes, on each of them; without gradients."""
        return self.total(value) / self.size

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world(*, device: str, spread: Spread = "replicate") -> Iterator[World]:
    """Take the place that ``torchrun`` gave us, or be the only one; ``device`` is ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: a GPU is asked for where there is none.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise ConfigError(f"device {device!r} is not known; choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' is asked for, but torch sees no GPU here; choose cpu or auto")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    if size == 1:
        yield World(rank=0, size=1, device=place, spread=spread)
        return
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield World(rank=dist.get_rank(), size=size, device=place, spread=spread)
    finally:
        dist.destroy_process_group()


def spread_over(world: World, objective: nn.Module) -> nn.Module:
    """``objective`` on its device, wrapped for many processes where there are many."""
    objective.to(world.device)
    if world.size > 1 and world.spread == "shard":
        mesh = dist.init_device_mesh(world.device.type, (world.size,))
        for block in blocks_of(objective):
            fully_shard(block, mesh=mesh)
        return cast(nn.Module, fully_shard(objective, mesh=mesh))
    _lay_channels_last(objective)
    if world.size == 1:
        return objective
    return DistributedDataParallel(objective, device_ids=[world.device] if world.device.type == "cuda" else None)


def _lay_channels_last(objective: nn.Module) -> None:
    """CPUs and GPUs convolve faster so; shards must lie in plain order."""
    for module in objective.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a network: members of its outermost module lists; natural units to shard and to recompute."""
    found: list[nn.Module] = []
    for child in module.children():
        found += list(child) if isinstance(child, nn.ModuleList) else blocks_of(child)
    return found


def without_exchange(module: nn.Module) -> AbstractContextManager[Any]:
    """Backward passes inside keep their gradients to themselves: for all but the last part of an accumulated batch."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def exchange_gradients(module: nn.Module, exchange: bool) -> None:
    """The same for sharded modules."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(exchange)


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread over processes, on the CPU. All processes must ask."""
    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.detach().cpu()


def spread_like(whole: Tensor, reference: Tensor) -> Tensor:
    """``whole`` placed as ``reference`` is."""
    placed = whole.to(device=reference.device, dtype=reference.dtype)
    if not isinstance(reference, DTensor):
        return placed
    return distribute_tensor(placed, reference.device_mesh, reference.placements)
