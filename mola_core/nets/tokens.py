"""Where the tokens of now and of the future come from: features of the imagination, or pixels through a ViT.

n = cells or patches of one camera; the tokens of several cameras stand one after the other, N = cameras · n.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.config import FeatureTokensConfig, PixelTokensConfig
from mola_core.nets.embeddings import WidthChange
from mola_core.nets.vit import Vit


@dataclass(frozen=True)
class Transition:
    """What an inverse dynamics model looks at."""

    now: Float[Tensor, "B N D"]
    future: Float[Tensor, "B N D"]


class FeatureTokens(nn.Module):
    """Two frames of the video network's features, projected, with an embedding of now and one of the future (release)."""

    def __init__(self, config: FeatureTokensConfig, *, feature_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.grid = (feature_shape[1] // config.patch, feature_shape[2] // config.patch)
        self.num_tokens = len(config.cameras) * self.grid[0] * self.grid[1]
        self.project = WidthChange(feature_shape[0] * config.patch**2, config.width, config.width)
        self.moment = nn.Parameter(torch.randn(2, 1, config.width))

    def forward(self, now: Float[Tensor, "B C F h w"], future: Float[Tensor, "B C F h w"]) -> Transition:
        return Transition(now=self._tokens(now, moment=0), future=self._tokens(future, moment=1))

    def _tokens(self, features: Float[Tensor, "B C F h w"], *, moment: int) -> Float[Tensor, "B N D"]:
        chosen = torch.stack([features[:, camera] for camera in self.config.cameras], dim=1)
        side = self.config.patch
        cells = rearrange(chosen, "b c f (h p) (w q) -> b (c h w) (f p q)", p=side, q=side)
        tokens: Tensor = self.project(cells) + self.moment[moment]
        return tokens


class PixelTokens(nn.Module):
    """A ViT over the current picture and over the imagined one (paper)."""

    def __init__(self, config: PixelTokensConfig, *, height: int, width: int) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.vit = Vit(
            height=height,
            width=width,
            patch=config.patch,
            token_width=config.width,
            depth=config.depth,
            heads=config.heads,
        )
        self.grid = self.vit.grid
        self.num_tokens = len(config.cameras) * self.vit.num_tokens

    def forward(self, now: Float[Tensor, "B C 3 H W"], future: Float[Tensor, "B C 3 H W"]) -> Transition:
        return Transition(now=self._tokens(now), future=self._tokens(future))

    def _tokens(self, images: Float[Tensor, "B C 3 H W"]) -> Float[Tensor, "B N D"]:
        chosen = torch.stack([images[:, camera] for camera in self.config.cameras], dim=1)
        tokens: Tensor = self.vit(rearrange(chosen, "b c d h w -> (b c) d h w"))
        return rearrange(tokens, "(b c) n d -> b (c n) d", b=images.shape[0])
