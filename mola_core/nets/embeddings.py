"""Embeddings of numbers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoids(value: Float[Tensor, "*n"], *, width: int) -> Float[Tensor, "*n width"]:
    """Sines, then cosines, at ``width // 2`` frequencies from 1 down to 1 / 10000."""
    half = width // 2
    frequencies = torch.exp(
        torch.arange(half, device=value.device, dtype=torch.float32) * (-math.log(10000.0) / (half - 1))
    )
    angles = value[..., None].float() * frequencies  # *n half
    return torch.cat((angles.sin(), angles.cos()), dim=-1).to(value.dtype)


class Mish(nn.Module):
    """``x · tanh(softplus(x))``, spelt out: of a constant ONNX Runtime folds these operations away, the one called Mish it cannot."""

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return x * torch.tanh(nn.functional.softplus(x))


class NumberEmbedding(nn.Module):
    """Sinusoids and a two-layer perceptron."""

    def __init__(self, width: int, *, activation: nn.Module) -> None:
        super().__init__()
        self.width = width
        self.rise = nn.Linear(width, 2 * width)
        self.activation = activation
        self.fall = nn.Linear(2 * width, width)

    def forward(self, value: Float[Tensor, "*n"]) -> Float[Tensor, "*n width"]:
        out: Tensor = self.fall(self.activation(self.rise(sinusoids(value, width=self.width))))
        return out


class WidthChange(nn.Module):
    """Linear, GELU, linear: from the width of one network to that of another."""

    def __init__(self, width_in: int, inner: int, width_out: int) -> None:
        super().__init__()
        self.rise = nn.Linear(width_in, inner)
        self.fall = nn.Linear(inner, width_out)

    def forward(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n E"]:
        out: Tensor = self.fall(nn.functional.gelu(self.rise(x)))
        return out
