"""A vision transformer: pictures → tokens."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.attention import TransformerBlock


class Vit(nn.Module):
    """Patches, learned positions, pre-norm blocks, a last norm (Dosovitskiy et al. 2020), without a class token."""

    def __init__(self, *, height: int, width: int, patch: int, token_width: int, depth: int, heads: int) -> None:
        super().__init__()
        if height % patch or width % patch:
            raise ValueError(f"a picture of {width} x {height} does not divide into patches of {patch}")
        self.grid = (height // patch, width // patch)
        self.num_tokens = self.grid[0] * self.grid[1]
        self.patches = nn.Conv2d(3, token_width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, self.num_tokens, token_width))
        self.blocks = nn.ModuleList(
            TransformerBlock(token_width, heads=heads, mlp_width=4 * token_width) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(token_width, eps=1e-6)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N D"]:
        tokens = rearrange(self.patches(images), "b d h w -> b (h w) d") + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed
