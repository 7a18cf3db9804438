"""Convolutions over time alone, computed as two-dimensional ones.

Three frames by one by one is what the video UNet convolves between its pictures. With the cells of a picture laid in one row that is a
convolution over the two axes time and cell, for which GPU libraries have more and faster kernels than for three axes.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class TimeConvolution(nn.Conv3d):
    """Equal to the ``Conv3d`` it is made from, whose weights it keeps as they are."""

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D T H W"]:
        rows, columns = x.shape[-2:]
        out = functional.conv2d(
            rearrange(x, "b c t h w -> b c t (h w)"),
            self.weight.squeeze(-1),  # D C 3 1
            self.bias,
            stride=(self.stride[0], 1),
            padding=(int(self.padding[0]), 0),
        )
        return rearrange(out, "b d t (h w) -> b d t h w", h=rows, w=columns)


def install_time_convolutions(network: nn.Module) -> int:
    """Turn every convolution of ``network`` that sees only time into a :class:`TimeConvolution`; says how many."""
    found = [module for module in network.modules() if type(module) is nn.Conv3d and _sees_only_time(module)]
    for module in found:
        module.__class__ = TimeConvolution
    return len(found)


def _sees_only_time(module: nn.Conv3d) -> bool:
    alone = module.kernel_size[1:] == (1, 1) and module.stride[1:] == (1, 1)
    plain = module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"
    return alone and plain and module.kernel_size[0] > 1
