"""What all video backbones share: EDM scaling for a v-predicting network, noise levels, loss, and the sampler.

Karras et al. 2022 with ``sigma_data`` 1, which is what Stable Video Diffusion was trained with: a network F sees ``c_in * noisy`` and
``c_noise`` and the clean guess is ``c_skip * noisy + c_out * F``.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mola_core.nets.averages import masked_mean
from mola_core.nets.protocols import Denoised, Instruction, VideoBackbone

SIGMA_DATA = 1.0
KARRAS_RHO, KARRAS_SIGMA_MIN = 7.0, 0.002


@dataclass(frozen=True)
class Scaling:
    """Factors of shape B 1 1 1 1; ``c_noise`` is a plain B."""

    c_skip: Float[Tensor, "B 1 1 1 1"]
    c_out: Float[Tensor, "B 1 1 1 1"]
    c_in: Float[Tensor, "B 1 1 1 1"]
    c_noise: Float[Tensor, "B"]


def scaling_of(sigma: Float[Tensor, "B"]) -> Scaling:
    """The factors at noise level ``sigma``, in its precision; worked out in float32: 700 squared is no number in float16."""
    precise = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
    s = precise[:, None, None, None, None]
    total = s**2 + SIGMA_DATA**2
    c_skip, c_out, c_in = SIGMA_DATA**2 / total, -s * SIGMA_DATA * total**-0.5, total**-0.5
    return Scaling(
        c_skip=c_skip.to(sigma.dtype),
        c_out=c_out.to(sigma.dtype),
        c_in=c_in.to(sigma.dtype),
        c_noise=(0.25 * precise.log()).to(sigma.dtype),
    )


def denoising_loss(
    backbone: VideoBackbone,
    clean: Float[Tensor, "B T c h w"],
    *,
    present: Float[Tensor, "B c h w"],
    camera: Int[Tensor, "B"],
    instruction: Instruction,
    sigma: Float[Tensor, "B"],
    noise: Float[Tensor, "B T c h w"],
    mask: Bool[Tensor, "B T"] | None = None,
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """EDM's loss of stage I: squared error of the clean guess, weighted so that every noise level matters alike.

    ``mask`` marks frames that exist (an episode may end before its last imagined frame), with ``count`` as in
    :func:`~mola_core.nets.averages.masked_mean`.
    """
    noisy = clean + sigma[:, None, None, None, None] * noise
    guess = backbone.denoise(noisy, sigma=sigma, present=present, camera=camera, instruction=instruction).clean
    if guess is None:
        raise RuntimeError("a full pass gave no clean guess")
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2  # B
    error = (guess.float() - clean.float()).square().mean(dim=(2, 3, 4)) * weight[:, None]  # B T
    return error.mean() if mask is None else masked_mean(error, mask=mask, count=count)


def karras_sigmas(steps: int, *, sigma_max: float) -> list[float]:
    """``steps`` falling noise levels from ``sigma_max``, then 0; one step goes from the top to clean at once."""
    low, high = KARRAS_SIGMA_MIN ** (1 / KARRAS_RHO), sigma_max ** (1 / KARRAS_RHO)
    ramp = [high + (low - high) * step / max(steps - 1, 1) for step in range(steps)]
    return [value**KARRAS_RHO for value in ramp] + [0.0]


def imagine_latents(
    backbone: VideoBackbone,
    *,
    present: Float[Tensor, "B c h w"],
    camera: Int[Tensor, "B"],
    instruction: Instruction,
    noise: Float[Tensor, "B T c h w"],
    steps: int = 1,
    features_only: bool = True,
) -> Denoised:
    """Euler steps from pure noise of unit variance; features and clean guess are those of the last pass.

    Only the last pass may leave the network early: the others must give a clean guess to go on from.
    """
    sigmas = karras_sigmas(steps, sigma_max=backbone.sigma_max)
    noisy = noise * sigmas[0]  # B T c h w
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        last = step == steps - 1
        level = torch.full((noisy.shape[0],), sigma, dtype=noisy.dtype, device=noisy.device)
        denoised = backbone.denoise(
            noisy,
            sigma=level,
            present=present,
            camera=camera,
            instruction=instruction,
            features_only=features_only and last,
        )
        if not last:
            if denoised.clean is None:
                raise RuntimeError("a full pass gave no clean guess")
            noisy = denoised.clean + (noisy - denoised.clean) * (following / sigma)
    return denoised


def per_camera(instruction: Instruction, *, cameras: int) -> Instruction:
    """The instruction for every camera as a batch item of its own: B → B · C, cameras running fastest."""
    return Instruction(
        tokens=instruction.tokens.repeat_interleave(cameras, dim=0),
        mask=instruction.mask.repeat_interleave(cameras, dim=0),
        pooled=instruction.pooled.repeat_interleave(cameras, dim=0),
    )


def flat_cameras(images: Float[Tensor, "B C *rest"]) -> Float[Tensor, "BC *rest"]:
    """Each camera as a batch item of its own."""
    return rearrange(images, "b c ... -> (b c) ...")
