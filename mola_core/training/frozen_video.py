"""What training alone asks of the frozen video model."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mola_core.nets.building import Backbone
from mola_core.nets.mola import Mola
from mola_core.nets.protocols import Instruction
from mola_core.nets.video_diffusion import flat_cameras, per_camera


def backbone_of(model: Mola) -> Backbone:
    """The video model. ValueError for a model without one: stages that need it are not in such a recipe."""
    if model.backbone is None:
        raise ValueError("this model has no imagination")
    return model.backbone


def coder_name(model: Mola) -> str:
    """What the frozen autoencoder inside the video model is called."""
    for name in ("autoencoder", "vae"):
        if hasattr(backbone_of(model), name):
            return name
    raise ValueError(f"{type(model.backbone).__name__} has no autoencoder")


def features_at(
    model: Mola,
    clean: Float[Tensor, "B C T c h w"],
    *,
    sigma: float,
    instruction: Instruction,
    noise: Float[Tensor, "B C T c h w"],
) -> Float[Tensor, "B C T F h w"]:
    """Features of a known future, tapped at noise level ``sigma``."""
    batch, cameras = clean.shape[:2]
    flat = flat_cameras(clean)
    denoised = backbone_of(model).denoise(
        flat + sigma * flat_cameras(noise),
        sigma=torch.full((batch * cameras,), sigma, device=clean.device),
        present=flat[:, 0],
        camera=model.camera_numbers(batch, device=clean.device),
        instruction=per_camera(instruction, cameras=cameras),
        features_only=True,
    )
    return rearrange(denoised.features, "(b c) ... -> b c ...", c=cameras)
