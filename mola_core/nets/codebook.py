"""The quantiser of an inverse dynamics model.

A codebook learned by gradient, with the release's two loss terms, instead of one moved by averages: in stage III its codes follow the
policy's loss as everything else does, and imported weights go on training as they did. Codes that fall out of use are put onto
vectors of the present batch. That batch, and what counts as use, are those of all processes together.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mola_core.nets.config import CodebookConfig
from mola_core.nets.processes import as_first_has_it, joined, total


@dataclass(frozen=True)
class Quantised:
    vectors: Float[Tensor, "B Q E"]
    """Rows of the codebook; gradients pass to the input as if nothing had been rounded."""
    indices: Int[Tensor, "B Q"]
    loss: Float[Tensor, ""]


@dataclass(frozen=True)
class CodeUsage:
    """What was chosen in the recent batches of training."""

    shares: Float[Tensor, "size"]
    """Of each code; they add to one."""

    @property
    def perplexity(self) -> float:
        """Between 1 (one code does all) and the size of the codebook (all alike)."""
        shares = self.shares[self.shares > 0]
        return float((-(shares * shares.log()).sum()).exp())

    @property
    def used(self) -> int:
        """Codes with at least a tenth of an even share."""
        return int((self.shares >= 0.1 / len(self.shares)).sum())


def perplexity_of(indices: Int[Tensor, "B Q"], *, size: int) -> float:
    """How many codes each query tells apart in this batch, on average over queries: 1 where it always says the same."""
    each = [
        CodeUsage(shares=torch.bincount(column, minlength=size) / len(column)).perplexity
        for column in indices.unbind(1)
    ]
    return sum(each) / len(each)


class Codebook(nn.Module):
    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.config = config
        self.codes = nn.Parameter(torch.empty(config.size, config.width).uniform_(-1 / config.size, 1 / config.size))
        self.usage: Tensor
        self.spared: Tensor
        self.started: Tensor
        self.register_buffer("usage", torch.full((config.size,), 1 / config.size))
        self.register_buffer("spared", torch.zeros(config.size, dtype=torch.int64))
        """For how many more batches a code that was put elsewhere has time to be found useful."""
        self.register_buffer("started", torch.tensor(False))

    def code_usage(self) -> CodeUsage:
        return CodeUsage(shares=self.usage / self.usage.sum())

    def forward(self, vectors: Float[Tensor, "B Q E"]) -> Quantised:
        if self.training:
            self._start_from(vectors)
        indices = self._nearest(vectors.detach())  # B Q
        chosen = self.codes[indices]  # B Q E
        commitment = (chosen.detach() - vectors).square().mean()
        following = (chosen - vectors.detach()).square().mean()
        if self.training:
            self._note(indices, vectors)
        return Quantised(
            vectors=vectors + (chosen - vectors).detach(),
            indices=indices,
            loss=commitment + self.config.beta * following,
        )

    def _nearest(self, vectors: Float[Tensor, "B Q E"]) -> Int[Tensor, "B Q"]:
        codes = self.codes.detach()  # size E
        # the vector's own square is the same for every code
        return (codes.square().sum(dim=-1) - 2 * vectors @ codes.T).argmin(dim=-1)

    @torch.no_grad()
    def _start_from(self, vectors: Float[Tensor, "B Q E"]) -> None:
        """The first batch of training lays out the codes; loaded ones stay."""
        if bool(self.started):
            return
        self.codes.copy_(_drawn(vectors, count=self.config.size).to(self.codes.dtype))
        self.started.fill_(True)

    @torch.no_grad()
    def _note(self, indices: Int[Tensor, "B Q"], vectors: Float[Tensor, "B Q E"]) -> None:
        size, decay = self.config.size, self.config.usage_decay
        counts = total(torch.bincount(indices.flatten(), minlength=size))  # whole numbers: the same bits in any number
        shares = counts.to(self.usage.dtype) / counts.sum()
        self.usage.mul_(decay).add_(shares, alpha=1 - decay)
        self.spared.sub_(1).clamp_(min=0)
        dead = (self.usage < self.config.dead_below / size) & (self.spared == 0)
        if not bool(dead.any()):
            return
        self.codes[dead] = _drawn(vectors, count=int(dead.sum())).to(self.codes.dtype)
        # its usage is left as it is: it says what was chosen, not what might be
        self.spared[dead] = round(1 / (1 - decay))


def _drawn(vectors: Float[Tensor, "B Q E"], *, count: int) -> Float[Tensor, "count E"]:
    """``count`` vectors of the batch at random, a little apart from each other: of all processes' batch, and the same on each."""
    flat = joined(vectors.float()).reshape(-1, vectors.shape[-1])
    rows = torch.randint(len(flat), (count,), device=flat.device)
    return as_first_has_it(flat[rows] + 0.01 * flat.std() * torch.randn(count, flat.shape[-1], device=flat.device))
