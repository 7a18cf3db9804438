"""Other light for pictures of training."""

import torch
from jaxtyping import Float
from torch import Tensor

from mola_core.training.draws import Draws
from mola_core.training.recipe import PictureJitter


def jittered(
    pictures: Float[Tensor, "B *any 3 H W"], jitter: PictureJitter | None, draws: Draws
) -> Float[Tensor, "B *any 3 H W"]:
    """Each item of the batch in its own light, all of its frames in the same; a camera's range bounds what comes out."""
    if jitter is None:
        return pictures
    ones = [1] * (pictures.ndim - 4)
    light = (jitter.light * draws.normal("light", (*ones, 1, 1, 1))).exp()
    gain = 1.0 + jitter.gain * draws.normal("gain", (*ones, 1, 1, 1))
    colour = 1.0 + jitter.colour * draws.normal("colour", (*ones, 3, 1, 1))
    offset = jitter.offset * draws.normal("offset", (*ones, 1, 1, 1))
    lit = (((pictures + 1.0) * light - 1.0) * gain * colour + offset).clamp(-1.0, 1.0)
    chosen = draws.uniform("lit", (*ones, 1, 1, 1)) < jitter.share
    return torch.where(chosen, lit, pictures)
