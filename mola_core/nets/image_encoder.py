"""The policy's own view of the present: a convolutional encoder, one token a grid cell and camera (Diffusion Policy)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.config import ImageEncoderConfig


class ImageEncoder(nn.Module):
    """Each camera has weights of its own, group norms instead of batch norms (Chi et al. 2023)."""

    def __init__(self, config: ImageEncoderConfig, *, num_cameras: int) -> None:
        super().__init__()
        shrink = 2 ** len(config.widths)
        if config.height % shrink or config.width % shrink:
            raise ValueError(f"views of {config.width} x {config.height} do not divide by {shrink}")
        cells = (config.height // shrink) * (config.width // shrink)
        self.num_tokens = num_cameras * cells
        self.width = config.token_width
        self.cameras = nn.ModuleList(_tower(config) for _ in range(num_cameras))
        self.positions = nn.Parameter(0.02 * torch.randn(num_cameras, cells, config.token_width))

    def forward(self, images: Float[Tensor, "B C 3 H W"]) -> Float[Tensor, "B N D"]:
        tokens = [
            rearrange(tower(images[:, camera]), "b d h w -> b (h w) d") + self.positions[camera]
            for camera, tower in enumerate(self.cameras)
        ]
        return torch.cat(tokens, dim=1)


def _tower(config: ImageEncoderConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    width_in = 3
    for width in config.widths:
        layers += [
            nn.Conv2d(width_in, width, 3, stride=2, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
        ]
        width_in = width
    return nn.Sequential(*layers, nn.Conv2d(width_in, config.token_width, 1))
