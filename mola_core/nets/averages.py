"""Means over what is real."""

from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(
    values: Float[Tensor, "*n"], *, mask: Bool[Tensor, "*n"], count: Float[Tensor, ""] | None = None
) -> Float[Tensor, ""]:
    """Over the items that ``mask`` marks; 0 where it marks none.

    ``count`` is divided by instead of their number where these items are part of a larger batch: what is marked in all of it, over
    the number of its parts. The average over the parts is then the mean over the whole, however unevenly they are marked.
    """
    mean: Tensor = (values * mask).sum() / (mask.sum().clamp(min=1) if count is None else count)
    return mean


def weighted(values: Float[Tensor, "B n"], weight: Float[Tensor, "B"] | None) -> Float[Tensor, "B n"]:
    """Each sample's values times its weight; None weighs all alike."""
    return values if weight is None else values * weight[:, None]
