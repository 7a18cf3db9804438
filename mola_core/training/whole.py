"""What one part of a step's batch must know of the others: sums over all of them, in whatever process and order they are learned from.

A mean over what a mask marks is no average of the parts' own means where these are marked unevenly. Every part divides its own sum by
what falls to a part on average instead; the average over the parts is then the mean over the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mola_core.training.distributed import World


@dataclass(frozen=True)
class Whole:
    """Of the whole batch of a step, which ``parts`` equal parts make up."""

    parts: int = 1
    sums: Mapping[str, Tensor] = field(default_factory=dict)
    """By names that are the stage's own business; float64."""

    def total(self, name: str) -> Tensor:
        """The sum over all parts, float32.

        Raises:
            KeyError: the stage's ``sums`` give nothing of that name.
        """
        return self.sums[name].float()

    def share(self, name: str) -> Tensor:
        """What of it falls to a part on average."""
        return self.total(name) / self.parts

    def count(self, name: str) -> Tensor:
        """The same of a number of things: as if there were one where there is none, to be divided by."""
        return self.total(name).clamp(min=1) / self.parts


def summed_up(each: Sequence[Mapping[str, Tensor]], *, world: World) -> Whole:
    """From the sums of every part of this process. All processes must ask, with the same names."""
    parts = len(each) * world.size
    if not each[0]:
        return Whole(parts=parts)
    own = {name: torch.stack([sums[name].detach().double() for sums in each]).sum(dim=0) for name in each[0]}
    together = world.total(torch.cat([value.flatten() for value in own.values()]))
    pieces = torch.split(together, [value.numel() for value in own.values()])
    return Whole(
        parts=parts,
        sums={name: piece.reshape(own[name].shape) for name, piece in zip(own, pieces, strict=True)},
    )
