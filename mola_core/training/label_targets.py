"""Labels as the decoders of stage II are to draw them: at the pictures' size, in units that make the errors alike."""

from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mola_core.data.sample import LABELS
from mola_core.nets.config import DecodersConfig
from mola_core.training.stage import Batch

FLOW_UNIT = 0.1
"""Flow is drawn in tenths of the view, so that its errors weigh about as much as the other modalities'."""


def targets_in(batch: Batch, decoders: DecodersConfig, *, size: tuple[int, int]) -> dict[str, Tensor]:
    """By modality, at ``size`` (down, across): Int B c H W for classes, Float B c channels H W otherwise."""
    found: dict[str, Tensor] = {}
    if "depth" in batch:
        found["depth"] = enlarged(batch["depth"].float(), size)[:, :, None]  # B c 1 H W
    if "semantic" in batch and batch["semantic"].ndim == 5:  # a picture model's features, B c h w D
        found["semantic"] = _enlarged_vectors(batch["semantic"].float(), size)
    elif "semantic" in batch:
        classes = decoders.modalities["semantic"].channels
        found["semantic"] = enlarged(batch["semantic"].float(), size).long().clamp(max=classes - 1)  # B c H W
    if "flow" in batch:
        found["flow"] = _enlarged_vectors(batch["flow"] / FLOW_UNIT, size)
    return found


def known_in(batch: Batch, *, size: tuple[int, int]) -> dict[str, Bool[Tensor, "B c H W"]]:
    """Where the targets of the same names are known; of those that have no mask, everywhere."""
    masks = {name: batch[f"{name}_mask"] for name in LABELS if f"{name}_mask" in batch}
    return {name: enlarged(mask.float(), size) > 0.5 for name, mask in masks.items()}


def enlarged(maps: Float[Tensor, "B c h w"], size: tuple[int, int]) -> Float[Tensor, "B c H W"]:
    """Each cell as it is over all of its place at another size."""
    return functional.interpolate(maps, size=size, mode="nearest")


def _enlarged_vectors(maps: Float[Tensor, "B c h w D"], size: tuple[int, int]) -> Float[Tensor, "B c D H W"]:
    flat = rearrange(maps, "b c h w d -> b (c d) h w")
    return rearrange(enlarged(flat, size), "b (c d) h w -> b c d h w", c=maps.shape[1])
