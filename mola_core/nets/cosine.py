"""Latents without training: the cosine transform of 8×8 blocks, luma and chroma apart, lowest frequencies first (as JPEG does).

Colour and place survive it exactly up to the frequency where it is cut, which a small autoencoder trained for minutes cannot promise.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mola_core.nets.config import CosineConfig

BLOCK = 8
LUMA_CHROMA = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""ITU-R BT.601, as JPEG uses it."""
LARGEST, FALL = 2.8, 1.2
"""Standard deviation of the constant term of luma in scenes of the twin, and how fast frequency f falls: ``1 / (1 + f) ** FALL``."""
CHROMA = 0.22
"""The same of chroma beside luma."""


class BlockCosine(nn.Module):
    """Pictures ↔ latents, linear both ways; frequencies above the kept ones are lost. Nothing in it is learned."""

    def __init__(self, config: CosineConfig) -> None:
        super().__init__()
        kept = ((0, config.luma), (1, config.chroma), (2, config.chroma))
        waves = [(plane, wave, scale) for plane, count in kept for wave, scale in _waves(plane, count)]
        plane = torch.tensor([plane for plane, _, _ in waves])  # c
        wave = torch.stack([wave for _, wave, _ in waves])[:, None]  # c 1 8 8
        scale = torch.tensor([scale for _, _, scale in waves])[:, None, None, None]  # c 1 1 1
        planes_of_rgb = torch.tensor(LUMA_CHROMA)
        rgb_of_planes = torch.linalg.inv(planes_of_rgb)
        self.analysis: Tensor
        self.synthesis: Tensor
        self.register_buffer("analysis", planes_of_rgb[plane][:, :, None, None] * wave / scale, persistent=False)
        self.register_buffer("synthesis", rgb_of_planes.T[plane][:, :, None, None] * wave * scale, persistent=False)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B c h w"]:
        return functional.conv2d(images, self.analysis, stride=BLOCK)

    def decode(self, latents: Float[Tensor, "B c h w"]) -> Float[Tensor, "B 3 H W"]:
        return functional.conv_transpose2d(latents, self.synthesis, stride=BLOCK)


def _waves(plane: int, count: int) -> list[tuple[Float[Tensor, "8 8"], float]]:
    """The ``count`` lowest waves with the scale that each has in ``plane``."""
    order = sorted(((u, v) for u in range(BLOCK) for v in range(BLOCK)), key=lambda uv: (uv[0] + uv[1], uv))
    level = LARGEST if plane == 0 else LARGEST * CHROMA
    return [(_wave(u, v), level / (1 + u + v) ** FALL) for u, v in order[:count]]


def _wave(u: int, v: int) -> Float[Tensor, "8 8"]:
    """Orthonormal: rows vary with ``u``, columns with ``v``."""
    along = (torch.arange(BLOCK) + 0.5) * math.pi / BLOCK
    rows = torch.cos(u * along) * math.sqrt((1 if u == 0 else 2) / BLOCK)
    columns = torch.cos(v * along) * math.sqrt((1 if v == 0 else 2) / BLOCK)
    return rows[:, None] * columns[None, :]
