"""Imagination on latents that are known already: what training asks of the frozen video model."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mola_core.nets.building import Backbone
from mola_core.nets.mola import Imagination, Mola
from mola_core.nets.protocols import Instruction
from mola_core.nets.video_diffusion import flat_cameras, imagine_latents, per_camera


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


def encoded(model: Mola, pictures: Float[Tensor, "B C T 3 H W"]) -> Float[Tensor, "B C T c h w"]:
    """Latents of every frame of every camera."""
    latents = backbone_of(model).encode(flat_cameras(pictures))
    return rearrange(latents, "(b c) ... -> b c ...", c=pictures.shape[1])


def imagine_from(
    model: Mola,
    present: Float[Tensor, "B C c h w"],
    *,
    instruction: Instruction,
    noise: Float[Tensor, "B C T c h w"],
    steps: int = 1,
    features_only: bool = True,
) -> Imagination:
    """As :meth:`Mola.imagine`, from the present's latents instead of its picture."""
    batch, cameras = present.shape[:2]
    denoised = imagine_latents(
        backbone_of(model),
        present=flat_cameras(present),
        camera=model.camera_numbers(batch, device=present.device),
        instruction=per_camera(instruction, cameras=cameras),
        noise=flat_cameras(noise),
        steps=steps,
        features_only=features_only,
    )
    clean = denoised.clean
    return Imagination(
        features=rearrange(denoised.features, "(b c) ... -> b c ...", c=cameras),
        latents=None if clean is None else rearrange(clean, "(b c) ... -> b c ...", c=cameras),
    )


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
