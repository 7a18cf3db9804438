"""The video former: a few tokens for each imagined frame, read from the features of all cameras (Video Prediction Policy).

q queries a frame, n = C · h · w cells, f the width of a feature.
"""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.attention import Attention, FeedForward
from mola_core.nets.config import VideoFormerConfig
from mola_core.nets.embeddings import WidthChange


class _Layer(nn.Module):
    """Queries read their frame's features and each other, then the same query of the other frames, then a feed-forward."""

    def __init__(self, config: VideoFormerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm_features = nn.LayerNorm(width)
        self.norm_queries = nn.LayerNorm(width)
        self.read = Attention(width, heads=config.heads, head_width=config.head_width, in_bias=False, out_bias=False)
        self.time = Attention(width, heads=config.heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = FeedForward(width, inner=4 * width, bias=False)

    def forward(
        self, queries: Float[Tensor, "BT q D"], *, features: Float[Tensor, "BT n D"], frames: int
    ) -> Float[Tensor, "BT q D"]:
        asking = self.norm_queries(queries)
        queries = queries + self.read(asking, context=torch.cat((self.norm_features(features), asking), dim=1))
        queries = rearrange(queries, "(b t) q d -> (b q) t d", t=frames)
        queries = queries + self.time(queries)
        queries = rearrange(queries, "(b q) t d -> (b t) q d", q=asking.shape[1])
        out: Tensor = queries + self.mlp(self.norm_mlp(queries))
        return out


class VideoFormer(nn.Module):
    """Features of C cameras and T frames → T · q visual tokens."""

    def __init__(self, config: VideoFormerConfig, *, feature_width: int, frames: int, cells: int) -> None:
        super().__init__()
        self.num_tokens = frames * config.queries_per_frame
        self.width = config.width
        self.enter = WidthChange(feature_width, 2 * config.width, config.width)
        self.queries = nn.Parameter(torch.randn(frames, config.queries_per_frame, config.width))
        self.frame = nn.Parameter(torch.randn(frames, 1, config.width))
        self.cell = nn.Parameter(0.02 * torch.randn(cells, config.width)) if config.positions else None
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, features: Float[Tensor, "B C T f h w"]) -> Float[Tensor, "B N D"]:
        batch, _, frames = features.shape[:3]
        told = self.enter(rearrange(features, "b c t f h w -> b t (c h w) f"))  # B T n D
        told = told + self.frame
        if self.cell is not None:
            told = told + self.cell
        told = rearrange(told, "b t n d -> (b t) n d")
        queries = repeat(self.queries, "t q d -> (b t) q d", b=batch)
        for layer in self.layers:
            queries = layer(queries, features=told, frames=frames)
        tokens: Tensor = self.norm(rearrange(queries, "(b t) q d -> b (t q) d", b=batch))
        return tokens
