"""Weights laid out as a GPU's convolutions want them: channels last, where tensor cores read them without a transposition."""

import torch
from torch import nn

from mola_core.nets.time_convolution import install_time_convolutions


def lay_out_for_gpu(network: nn.Module) -> None:
    """In place; every output stays the same up to rounding. What a convolution returns is then laid out so too, and is passed on."""
    install_time_convolutions(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
