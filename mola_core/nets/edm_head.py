"""The action head of the release: the same transformer as an EDM denoiser (Karras et al. 2022), sampled by DDIM steps."""

import math
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.config import EdmHeadConfig
from mola_core.nets.dit import ActionTransformer, HeadSizes
from mola_core.nets.protocols import HeadCondition, ItemDraws

DENSITY_SCALE = 0.5
"""Of the log-logistic density of noise levels in training, around ``sigma_data``."""


class EdmHead(nn.Module):
    """An ``ActionHead``."""

    def __init__(self, config: EdmHeadConfig, sizes: HeadSizes) -> None:
        super().__init__()
        self.config = config
        self.default_steps = config.steps
        self.transformer = ActionTransformer(config.dit, sizes)

    def loss(
        self,
        actions: Float[Tensor, "B K A"],
        *,
        mask: Bool[Tensor, "B K"],
        condition: HeadCondition,
        draws: ItemDraws,
        weight: Float[Tensor, "B"] | None = None,
        count: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, ""]:
        sigma = self._sigmas(draws.uniform("action sigma")).to(actions.dtype)  # B
        noise = draws.normal("action noise", actions.shape[1:]).to(actions.dtype)
        noisy = actions + sigma[:, None, None] * noise
        clean = self.denoised(noisy, sigma=sigma, context=self.transformer.context(condition, draws=draws))
        data = self.config.sigma_data
        even = (sigma**2 + data**2) / (sigma * data) ** 2  # B
        error = (clean - actions).square().mean(dim=-1) * even[:, None]  # B K
        return masked_mean(weighted(error, weight), mask=mask, count=count)

    def counted(self, mask: Bool[Tensor, "B K"], *, draws: ItemDraws) -> Int[Tensor, ""]:  # noqa: ARG002  the protocol's
        """Real rows."""
        return mask.sum()

    def sample(self, condition: HeadCondition, *, noise: Float[Tensor, "B K A"], steps: int) -> Float[Tensor, "B K A"]:
        return self.sample_from(self.transformer.context(condition), noise=noise, steps=steps)

    def sample_from(
        self, context: Float[Tensor, "B M D"], *, noise: Float[Tensor, "B K A"], steps: int
    ) -> Float[Tensor, "B K A"]:
        """DDIM along an exponential schedule; the last step goes to noise 0."""
        sigmas = self._schedule(steps)
        actions = noise * sigmas[0]
        for sigma, following in pairwise(sigmas):
            level = torch.full((len(noise),), sigma, dtype=noise.dtype, device=noise.device)
            clean = self.denoised(actions, sigma=level, context=context)
            actions = clean + (actions - clean) * (following / sigma)
        return actions

    def _schedule(self, steps: int) -> list[float]:
        high, low = math.log(self.config.sigma_max), math.log(self.config.sigma_min)
        return [math.exp(high + (low - high) * step / max(steps - 1, 1)) for step in range(steps)] + [0.0]

    def denoised(
        self, noisy: Float[Tensor, "B K A"], *, sigma: Float[Tensor, "B"], context: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B K A"]:
        """The clean guess."""
        data = self.config.sigma_data
        s = sigma[:, None, None]
        total = s**2 + data**2
        time = (sigma.log() / 4)[:, None]  # B 1, the same for all rows
        out = self.transformer(noisy * total**-0.5, time=time, context=context)
        clean: Tensor = noisy * data**2 / total + out * s * data * total**-0.5
        return clean

    def _sigmas(self, uniform: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Log-logistic around ``sigma_data``, cut to ``sigma_min`` … ``sigma_max``; in double precision."""
        centre = math.log(self.config.sigma_data)
        lowest, highest = (
            1 / (1 + math.exp(-(math.log(sigma) - centre) / DENSITY_SCALE))
            for sigma in (self.config.sigma_min, self.config.sigma_max)
        )
        share = lowest + (highest - lowest) * uniform.double()
        return (centre + DENSITY_SCALE * torch.logit(share)).exp()
