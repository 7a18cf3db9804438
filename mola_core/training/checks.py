"""What would fail after hours is refused in the first second."""

import shutil
from pathlib import Path

import torch
from torch import nn

from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.nets.codebook import Codebook
from mola_core.training.distributed import World
from mola_core.training.order import Parts
from mola_core.training.recipe import StageSpec
from mola_core.training.stage import trained_parameters

_GIB = 2**30
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "_STATUS_ALLOC_FAILED",
)
"""In what torch says where the CPU, cuBLAS or cuDNN has no memory left."""


class TooLittleMemoryError(MolaError):
    """A stage does not fit into the memory there is."""


def require_even_parts(spec: StageSpec, world: World, *, stage: str) -> Parts:
    """How the batch is divided.

    Raises:
        ConfigError: it cannot be divided evenly.
    """
    share = world.size * spec.accumulate
    if spec.batch_size % share:
        raise ConfigError(
            f"stage {stage}: batch_size {spec.batch_size} is not a multiple of {world.size} processes × accumulate "
            f"{spec.accumulate}; set {stage.partition('-')[0]}.batch_size to a multiple of {share}"
        )
    return Parts(batch_size=spec.batch_size, world_size=world.size, accumulate=spec.accumulate)


def require_spread(objective: nn.Module, world: World, *, stage: str) -> None:
    """Refuse to shard codebooks: dead codes are revived in place, which a shard would not keep.

    Raises:
        ConfigError: naming the way out.
    """
    codebooks = [
        name
        for name, module in objective.named_modules()
        if isinstance(module, Codebook) and module.codes.requires_grad
    ]
    if world.size > 1 and world.spread == "shard" and codebooks:
        raise ConfigError(
            f"stage {stage} trains {codebooks[0]}, and codebooks cannot be sharded; use --spread replicate"
        )


def require_memory(objective: nn.Module, spec: StageSpec, world: World, *, stage: str, loaded: bool = True) -> None:
    """Refuse a stage whose weights, gradients, optimizer state and averages alone exceed the free memory.

    ``loaded``: the weights are in this machine's memory already; not so while the objective is on torch's meta device. Activations
    come on top and are not foreseen: running out of them is caught in the first step.

    Raises:
        TooLittleMemoryError: saying what is needed and what is free.
    """
    every = sum(parameter.numel() * parameter.element_size() for parameter in objective.parameters())
    trained = sum(parameter.numel() * 4 for parameter in trained_parameters(objective).values())
    copies = 3 + (spec.ema_decay is not None)  # gradient, two moments, average
    share = world.size if world.spread == "shard" else 1
    already_there = every if loaded and world.device.type == "cpu" else 0
    needed = (every + copies * trained) / share - already_there
    free = free_memory(world.device)
    if needed > free:
        raise TooLittleMemoryError(
            f"stage {stage} needs {needed / _GIB:.1f} GiB of memory for weights and optimizer, {world.device} has "
            f"{free / _GIB:.1f} GiB free; use a smaller recipe, a larger machine, or several processes with --spread shard"
        )


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had: of a GPU, of the CPU by torch (which has no class for that), or by Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _OUT_OF_MEMORY)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated there."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise MolaError("/proc/meminfo has no MemAvailable; this is no Linux that training knows")


def require_disk(folder: Path, needed: int, *, what: str) -> None:
    """Refuse to begin writing ``needed`` bytes that do not fit on the disk of ``folder``."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MolaError(
            f"{what} needs {needed / _GIB:.1f} GiB, the disk of {folder} has {free / _GIB:.1f} GiB free; "
            "choose another --out, or set policy.cache_features=false"
        )
