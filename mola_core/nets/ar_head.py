"""The autoregressive head: action numbers as discrete tokens, one after the other (paper, table 11).

I = K · A tokens of a chunk, row by row.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.attention import Attention, FeedForward
from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.config import ArHeadConfig, DitConfig
from mola_core.nets.dit import ContextEncoder, HeadSizes
from mola_core.nets.protocols import HeadCondition, ItemDraws


class _Layer(nn.Module):
    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        width = config.width
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads=config.heads, dropout=config.attention_dropout)
        self.norm_context = nn.LayerNorm(width)
        self.cross = Attention(width, heads=config.heads, dropout=config.attention_dropout)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = FeedForward(width, inner=4 * width, dropout=config.mlp_dropout)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(self, x: Float[Tensor, "B I D"], *, context: Float[Tensor, "B M D"]) -> Float[Tensor, "B I D"]:
        x = x + self.dropout(self.attention(self.norm_attention(x), causal=True))
        x = x + self.dropout(self.cross(self.norm_context(x), context=context))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class ArHead(nn.Module):
    """An ``ActionHead``; ``steps`` means nothing to it."""

    def __init__(self, config: ArHeadConfig, sizes: HeadSizes) -> None:
        super().__init__()
        self.config = config
        self.default_steps = 1
        self.action_size = sizes.action_size
        width, length = config.dit.width, sizes.horizon * sizes.action_size
        self.context = ContextEncoder(config.dit, sizes)
        self.start = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.bins = nn.Embedding(config.bins, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, length, width))
        self.layers = nn.ModuleList(_Layer(config.dit) for _ in range(config.dit.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, config.bins)

    def loss(
        self,
        actions: Float[Tensor, "B K A"],
        *,
        mask: Bool[Tensor, "B K"],
        condition: HeadCondition,
        draws: ItemDraws,
        weight: Float[Tensor, "B"] | None = None,
        count: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, ""]:
        targets = rearrange(self.bins_of(actions), "b k a -> b (k a)")  # B I
        logits = self._logits(targets[:, :-1], context=self.context(condition, draws=draws))  # B I bins
        error = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        counted = mask.repeat_interleave(self.action_size, dim=1)  # B I
        return masked_mean(weighted(error, weight), mask=counted, count=count)

    def counted(self, mask: Bool[Tensor, "B K"], *, draws: ItemDraws) -> Int[Tensor, ""]:  # noqa: ARG002  the protocol's
        """Tokens of real rows."""
        return mask.sum() * self.action_size

    def sample(
        self, condition: HeadCondition, *, noise: Float[Tensor, "B K A"], steps: int = 1
    ) -> Float[Tensor, "B K A"]:
        return self.sample_from(self.context(condition), noise=noise, steps=steps)

    def sample_from(
        self,
        context: Float[Tensor, "B M D"],
        *,
        noise: Float[Tensor, "B K A"],
        steps: int = 1,  # noqa: ARG002  the protocol's
    ) -> Float[Tensor, "B K A"]:
        """Each number of ``noise`` picks its token: where its place in the normal distribution falls in the token's distribution."""
        batch, rows, size = noise.shape
        places = rearrange(0.5 * (1 + torch.erf(noise / 2**0.5)), "b k a -> b (k a)")  # B I, uniform in 0 … 1
        chosen = torch.zeros(batch, 0, dtype=torch.int64, device=noise.device)
        for item in range(rows * size):
            shares = self._logits(chosen, context=context)[:, -1].float().softmax(dim=-1)  # B bins
            below = (shares.cumsum(dim=-1) < places[:, item, None].float()).sum(dim=-1, keepdim=True)  # B 1
            chosen = torch.cat((chosen, below.clamp(max=self.config.bins - 1)), dim=1)
        return rearrange(self.centres_of(chosen), "b (k a) -> b k a", a=size).to(noise.dtype)

    def bins_of(self, actions: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        share = (actions / self.config.span + 1) / 2
        return (share * self.config.bins).floor().long().clamp(0, self.config.bins - 1)

    def centres_of(self, bins: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return ((bins + 0.5) / self.config.bins * 2 - 1) * self.config.span

    def _logits(self, before: Int[Tensor, "B J"], *, context: Float[Tensor, "B M D"]) -> Float[Tensor, "B J+1 bins"]:
        """Of the tokens at 0 … J, each from those before it."""
        start = self.start.expand(len(before), -1, -1)
        x = torch.cat((start, self.bins(before)), dim=1)
        x = x + self.positions[:, : x.shape[1]]
        for layer in self.layers:
            x = layer(x, context=context)
        out: Tensor = self.leave(self.norm(x))
        return out
