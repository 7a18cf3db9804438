"""Means over what is real."""

from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(values: Float[Tensor, "*n"], *, mask: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Over the items that ``mask`` marks; 0 where it marks none."""
    mean: Tensor = (values * mask).sum() / mask.sum().clamp(min=1)
    return mean


def weighted(values: Float[Tensor, "B n"], weight: Float[Tensor, "B"] | None) -> Float[Tensor, "B n"]:
    """Each sample's values times its weight; None weighs all alike."""
    return values if weight is None else values * weight[:, None]
