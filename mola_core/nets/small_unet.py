"""The UNet of the small imagination.

Each level: residual blocks that mix neighbours in space, then in time; at the levels named in the configuration attention in space,
to the words, and in time.
"""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.attention import Attention, FeedForward
from mola_core.nets.config import SmallVideoConfig
from mola_core.nets.protocols import Instruction

GROUPS = 8


class Residual(nn.Module):
    """3×3 convolutions in space, then 3 in time; the embedding enters between the first two."""

    def __init__(self, width_in: int, width: int, *, embedding_width: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, width_in)
        self.conv_in = nn.Conv2d(width_in, width, 3, padding=1)
        self.embedding = nn.Linear(embedding_width, width)
        self.norm_out = nn.GroupNorm(GROUPS, width)
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()
        self.norm_time = nn.GroupNorm(GROUPS, width)
        self.conv_time = nn.Conv2d(width, width, (3, 1), padding=(1, 0))
        silence(self.conv_time)

    def forward(self, x: Float[Tensor, "B T D h w"], embedding: Float[Tensor, "B T E"]) -> Float[Tensor, "B T D2 h w"]:
        frames, height = x.shape[1], x.shape[3]
        x = rearrange(x, "b t d h w -> (b t) d h w")
        told = rearrange(self.embedding(functional.silu(embedding)), "b t d -> (b t) d 1 1")
        inner = self.conv_in(functional.silu(self.norm_in(x))) + told  # BT D2 h w
        x = self.skip(x) + self.conv_out(functional.silu(self.norm_out(inner)))
        x = rearrange(x, "(b t) d h w -> b d t (h w)", t=frames)
        x = x + self.conv_time(functional.silu(self.norm_time(x)))  # B D2 T hw
        return rearrange(x, "b d t (h w) -> b t d h w", h=height)


class Attend(nn.Module):
    """Self-attention in space, cross-attention to the words, self-attention in time, feed-forward."""

    def __init__(self, width: int, *, head_width: int, token_width: int) -> None:
        super().__init__()
        heads = max(1, width // head_width)
        self.norm_space = nn.LayerNorm(width)
        self.space = Attention(width, heads=heads)
        self.norm_words = nn.LayerNorm(width)
        self.words = Attention(width, heads=heads, context_width=token_width)
        self.norm_time = nn.LayerNorm(width)
        self.time = Attention(width, heads=heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = FeedForward(width, inner=4 * width)

    def forward(self, x: Float[Tensor, "B T D h w"], instruction: Instruction) -> Float[Tensor, "B T D h w"]:
        batch, frames, _, height, _ = x.shape
        x = rearrange(x, "b t d h w -> (b t) (h w) d")
        x = x + self.space(self.norm_space(x))
        x = rearrange(x, "(b t) n d -> b (t n) d", t=frames)
        x = x + self.words(self.norm_words(x), context=instruction.tokens, mask=instruction.mask)
        x = rearrange(x, "b (t n) d -> (b n) t d", t=frames)
        x = x + self.time(self.norm_time(x))
        x = x + self.mlp(self.norm_mlp(x))
        return rearrange(x, "(b h w) t d -> b t d h w", b=batch, h=height)


class Level(nn.Module):
    """Residual blocks, each followed by attention where the level has it."""

    def __init__(self, config: SmallVideoConfig, level: int, *, widths_in: list[int], embedding_width: int) -> None:
        super().__init__()
        width = config.widths[level]
        self.residuals = nn.ModuleList(
            Residual(width_in, width, embedding_width=embedding_width) for width_in in widths_in
        )
        attends = level in config.attention_levels
        self.attends = nn.ModuleList(
            Attend(width, head_width=config.head_width, token_width=config.token_width) if attends else nn.Identity()
            for _ in widths_in
        )

    def forward(
        self,
        x: Float[Tensor, "B T D h w"],
        *,
        embedding: Float[Tensor, "B T E"],
        instruction: Instruction,
        skips: Sequence[Float[Tensor, "B T _ h w"]] = (),
    ) -> list[Float[Tensor, "B T D2 h w"]]:
        """What each block gives; ``skips``, one a block where there are any, come in beside what is handed on."""
        given: list[Tensor] = []
        for number, (residual, attend) in enumerate(zip(self.residuals, self.attends, strict=True)):
            x = residual(torch.cat((x, skips[number]), dim=2) if skips else x, embedding)
            x = attend(x, instruction) if isinstance(attend, Attend) else x
            given.append(x)
        return given


class SmallUnet(nn.Module):
    """Down, middle, up with skips; features are tapped on the way up and the rest is left out when only they are wanted."""

    def __init__(self, config: SmallVideoConfig, *, embedding_width: int) -> None:
        super().__init__()
        self.tap_levels, self.blocks = config.tap_levels, config.blocks
        channels, widths, depth = config.autoencoder.latent_channels, config.widths, len(config.widths)
        self.enter = nn.Conv2d(2 * channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        skips, width_in = [widths[0]], widths[0]
        for level, width in enumerate(widths):
            widths_in = [width_in] + [width] * (config.blocks - 1)
            self.down.append(Level(config, level, widths_in=widths_in, embedding_width=embedding_width))
            skips += [width] * config.blocks
            if level < depth - 1:
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
            width_in = width
        self.middle = Level(config, depth - 1, widths_in=[width_in, width_in], embedding_width=embedding_width)
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        for level in reversed(range(depth)):
            widths_in = []
            for _ in range(config.blocks + 1):
                widths_in.append(width_in + skips.pop())
                width_in = widths[level]
            self.up.append(Level(config, level, widths_in=widths_in, embedding_width=embedding_width))
            if level > 0:
                self.grow.append(nn.Conv2d(width_in, width_in, 3, padding=1))
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.leave = nn.Conv2d(widths[0], channels, 3, padding=1)
        silence(self.leave)

    def forward(
        self,
        x: Float[Tensor, "B T c2 h w"],
        *,
        embedding: Float[Tensor, "B T E"],
        instruction: Instruction,
        features_only: bool,
    ) -> tuple[Float[Tensor, "B T c h w"] | None, Float[Tensor, "B T F h2 w2"]]:
        depth = len(self.up)
        x = _framewise(self.enter, x)
        skips = [x]
        for level in range(depth):
            given = self.down[level](x, embedding=embedding, instruction=instruction)
            x, skips = given[-1], skips + given
            if level < depth - 1:
                x = _framewise(self.shrink[level], x)
                skips.append(x)
        x = self.middle(x, embedding=embedding, instruction=instruction)[-1]
        taps: list[Tensor] = []
        for step, level in enumerate(reversed(range(depth))):
            count = self.blocks + 1
            skips, taken = skips[:-count], skips[: -count - 1 : -1]  # the last first
            x = self.up[step](x, embedding=embedding, instruction=instruction, skips=taken)[-1]
            if level in self.tap_levels:
                taps.append(_enlarged(x, factor=2 ** (level - self.tap_levels[-1])))
            if features_only and level == self.tap_levels[-1]:
                return None, torch.cat(taps, dim=2)
            if level > 0:
                x = _framewise(self.grow[step], _enlarged(x, factor=2))
        batch = x.shape[0]
        out = self.leave(functional.silu(self.norm(rearrange(x, "b t d h w -> (b t) d h w"))))
        return rearrange(out, "(b t) c h w -> b t c h w", b=batch), torch.cat(taps, dim=2)


def silence(layer: nn.Conv2d) -> None:
    """Begin with an output of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _framewise(conv: nn.Module, x: Float[Tensor, "B T D h w"]) -> Float[Tensor, "B T D2 h2 w2"]:
    out: Tensor = conv(rearrange(x, "b t d h w -> (b t) d h w"))
    return rearrange(out, "(b t) d h w -> b t d h w", t=x.shape[1])


def _enlarged(x: Float[Tensor, "B T D h w"], *, factor: int) -> Float[Tensor, "B T D h2 w2"]:
    """Nearest neighbour."""
    return x if factor == 1 else repeat(x, "b t d h w -> b t d (h i) (w j)", i=factor, j=factor)
