"""The action transformer: an encoder of all that the head is told, and decoder layers over action rows (paper, section 3.4; release).

The condition does not depend on how far denoising has come, so it is encoded once (``context``) and every step runs the decoder alone.
M = 1 + L + N + 1 + MQ tokens of the context (words and state only where configured).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mola_core.nets.attention import Attention, FeedForward
from mola_core.nets.config import DitConfig
from mola_core.nets.embeddings import Mish, NumberEmbedding, WidthChange
from mola_core.nets.protocols import HeadCondition, ItemDraws


class HeadSizes:
    """What the head is given by the rest of the model; fixed when it is built."""

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int,
        state_size: int,
        pooled_width: int,
        token_width: int,
        num_words: int,
        visual_width: int,
        num_visual: int,
        latent_width: int,
        num_latents: int,
    ) -> None:
        self.action_size, self.horizon, self.state_size = action_size, horizon, state_size
        self.pooled_width, self.token_width, self.num_words = pooled_width, token_width, num_words
        self.visual_width, self.num_visual = visual_width, num_visual
        self.latent_width, self.num_latents = latent_width, num_latents


@dataclass(frozen=True)
class Settled:
    """Rows that stand at a time of their own. What follows from either time is computed for one row and then chosen, so that where
    times are constants an exporter folds it away.
    """

    rows: Bool[Tensor, "B K"]
    time: Float[Tensor, "B 1 *D"]
    """A number, or what the network has made of it."""


class _EncoderLayer(nn.Module):
    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(config.width, bias=False)
        self.attention = _attention(config)
        self.norm_mlp = nn.LayerNorm(config.width, bias=False)
        self.mlp = _mlp(config)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(self, x: Float[Tensor, "B M D"]) -> Float[Tensor, "B M D"]:
        x = x + self.dropout(self.attention(self.norm_attention(x)))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class _DecoderLayer(nn.Module):
    """Self-attention and feed-forward modulated by the denoising time of each row, cross-attention to the context between them."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.causal, self.causal_context = config.causal, config.causal_context
        self.norm_attention = nn.LayerNorm(config.width, bias=False)
        self.attention = _attention(config)
        self.norm_context = nn.LayerNorm(config.width)
        self.cross = _attention(config)
        self.norm_mlp = nn.LayerNorm(config.width, bias=False)
        self.mlp = _mlp(config)
        self.dropout = nn.Dropout(config.residual_dropout)
        self.modulation = nn.Linear(config.width, 6 * config.width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Float[Tensor, "B K D"],
        *,
        time: Float[Tensor, "B #K D"],
        context: Float[Tensor, "B M D"],
        settled: Settled | None = None,
    ) -> Float[Tensor, "B K D"]:
        modulation = self.modulation(nn.functional.silu(time))  # B #K 6D
        if settled is not None:
            theirs = self.modulation(nn.functional.silu(settled.time))
            modulation = torch.where(settled.rows[..., None], theirs, modulation)
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation.chunk(6, dim=-1)
        inner = self.norm_attention(x) * (1 + scale) + shift
        x = x + gate * self.dropout(self.attention(inner, causal=self.causal))
        x = x + self.dropout(self.cross(self.norm_context(x), context=context, causal=self.causal_context))
        inner = self.norm_mlp(x) * (1 + scale_mlp) + shift_mlp
        out: Tensor = x + gate_mlp * self.mlp(inner)
        return out


class ContextEncoder(nn.Module):
    """Everything the head is told → tokens of one width that have seen each other."""

    def __init__(self, config: DitConfig, sizes: HeadSizes) -> None:
        super().__init__()
        width = config.width
        self.state_dropout = config.state_dropout
        self.goal = WidthChange(sizes.pooled_width, 2 * width, width)
        self.words = WidthChange(sizes.token_width, 2 * width, width) if config.words else None
        self.visual = nn.Linear(sizes.visual_width, width)
        self.state = WidthChange(sizes.state_size, 2 * width, width) if sizes.state_size else None
        self.latents = nn.Linear(sizes.latent_width, width) if sizes.num_latents else None
        length = 1 + (sizes.num_words if config.words else 0) + sizes.num_visual
        length += (1 if sizes.state_size else 0) + sizes.num_latents
        self.positions = nn.Parameter(0.02 * torch.randn(1, length, width))
        self.layers = nn.ModuleList(_EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(self, condition: HeadCondition, *, draws: ItemDraws | None = None) -> Float[Tensor, "B M D"]:
        """``draws`` say in training whose state is withheld; nobody's without them."""
        parts = [self.goal(condition.instruction.pooled)[:, None]]  # B 1 D
        if self.words is not None:
            known = condition.instruction.mask[..., None]  # B L 1
            parts.append(self.words(condition.instruction.tokens * known))
        parts.append(self.visual(condition.visual))
        if self.state is not None:
            parts.append(self._state(condition, draws)[:, None])
        if self.latents is not None:
            parts.append(self.latents(condition.latent_actions))
        tokens = torch.cat(parts, dim=1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        out: Tensor = self.norm(tokens)
        return out

    def _state(self, condition: HeadCondition, draws: ItemDraws | None) -> Float[Tensor, "B D"]:
        if condition.state is None or self.state is None:
            raise ValueError("this head was built with a state and got none")
        state: Tensor = self.state(condition.state)
        if self.training and self.state_dropout and draws is not None:
            state = state * (draws.uniform("state withheld", (1,)) >= self.state_dropout)
        return state


class ActionTransformer(nn.Module):
    """Noisy action rows, their time (of each, or one for all, settled ones excepted), and the context → a vector for each row."""

    def __init__(self, config: DitConfig, sizes: HeadSizes) -> None:
        super().__init__()
        width = config.width
        self.encoder = ContextEncoder(config, sizes)
        self.time = NumberEmbedding(width, activation=Mish())
        self.rows = nn.Linear(sizes.action_size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, sizes.horizon, width))
        self.layers = nn.ModuleList(_DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.leave = nn.Linear(width, sizes.action_size)

    def context(self, condition: HeadCondition, *, draws: ItemDraws | None = None) -> Float[Tensor, "B M D"]:
        out: Tensor = self.encoder(condition, draws=draws)
        return out

    def forward(
        self,
        noisy: Float[Tensor, "B K A"],
        *,
        time: Float[Tensor, "B #K"],
        context: Float[Tensor, "B M D"],
        settled: Settled | None = None,
    ) -> Float[Tensor, "B K A"]:
        x = self.rows(noisy) + self.positions  # B K D
        told = self.time(time)  # B 1 D, or B K D where rows differ
        apart = None if settled is None else Settled(rows=settled.rows, time=self.time(settled.time))
        for layer in self.layers:
            x = layer(x, time=told, context=context, settled=apart)
        out: Tensor = self.leave(self.norm(x))
        return out


def _attention(config: DitConfig) -> Attention:
    return Attention(config.width, heads=config.heads, out_bias=False, dropout=config.attention_dropout)


def _mlp(config: DitConfig) -> FeedForward:
    return FeedForward(config.width, inner=4 * config.width, bias=False, dropout=config.mlp_dropout)
