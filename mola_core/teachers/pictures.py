"""Pictures for the teachers' networks, and their answers back as maps of a label's size."""

from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mola_core.teachers.protocol import TeacherError, Views

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def batches(views: Views, size: int) -> Iterator[Float[Tensor, "b 3 height width"]]:
    """``views`` in 0..1, ``size`` at a time."""
    for begin in range(0, len(views), size):
        part = torch.from_numpy(views[begin : begin + size].copy())
        yield rearrange(part, "b h w c -> b c h w").float() / 255.0


def normalized(
    pictures: Float[Tensor, "b 3 height width"], *, width: int, height: int
) -> Float[Tensor, "b 3 new_height new_width"]:
    """Scaled to ``width`` × ``height`` and to ImageNet's mean and deviation."""
    scaled = functional.interpolate(pictures, size=(height, width), mode="bicubic", align_corners=False, antialias=True)
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (scaled - mean) / std


def resized(maps: Float[Tensor, "b c height width"], *, size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """``maps`` averaged (or interpolated) to (width, height) ``size``."""
    return functional.interpolate(maps, size=(size[1], size[0]), mode="bilinear", align_corners=False, antialias=True)


def torch_device(name: str) -> torch.device:
    """The device called ``name``.

    Raises:
        TeacherError: no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TeacherError(f"--device {name} cannot be used: {reason}") from error
    return device
