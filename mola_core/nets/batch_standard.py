"""Numbers standardised over the batch: zero mean and unit variance a channel, without parameters.

torch's batch norms see the items of their own process alone, and its synchronised one runs on GPUs alone. These see those of all
processes; in one process, and in evaluation, they are torch's own to the last bit.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.processes import num_processes, total


class BatchStandard1d(nn.BatchNorm1d):
    """Of B C."""

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=False)

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        return _over_all(self, x) if self.training and num_processes() > 1 else super().forward(x)


class BatchStandard2d(nn.BatchNorm2d):
    """Of B C H W."""

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return _over_all(self, x) if self.training and num_processes() > 1 else super().forward(x)


def _over_all(norm: BatchStandard1d | BatchStandard2d, x: Float[Tensor, "B C *any"]) -> Float[Tensor, "B C *any"]:
    """Over the items of all processes, noted in the running statistics as torch does."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    others = [axis for axis in range(x.ndim) if axis != 1]
    each = [1, -1] + [1] * (x.ndim - 2)
    count = num_processes() * x.numel() // x.shape[1]
    mean = total(wide.sum(dim=others)) / count  # C
    apart = wide - mean.reshape(each)
    variance = (
        total(apart.square().sum(dim=others)) / count
    )  # C; of what is left: squares of large means would swallow it
    _note(norm, mean.detach(), variance.detach() * count / (count - 1))
    return (apart * (variance + norm.eps).rsqrt().reshape(each)).to(x.dtype)


@torch.no_grad()
def _note(norm: BatchStandard1d | BatchStandard2d, mean: Float[Tensor, "C"], variance: Float[Tensor, "C"]) -> None:
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        if running is not None and norm.momentum is not None:
            running.lerp_(now.to(running.dtype), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
