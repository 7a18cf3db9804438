"""Activation checkpointing: blocks keep their inputs alone and are computed again on the way back."""

import functools

from torch import nn
from torch.utils.checkpoint import checkpoint

from mola_core.training.distributed import blocks_of


def recompute_blocks(module: nn.Module) -> None:
    """Trade a second forward pass for the memory of everything inside the repeated blocks that are trained."""
    for block in blocks_of(module):
        if any(parameter.requires_grad for parameter in block.parameters()):
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
