"""The action head of Diffusion Policy (Chi et al. 2023): the same transformer predicts the noise (Ho et al. 2020), sampled by DDIM."""

import math
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.config import DdpmHeadConfig
from mola_core.nets.dit import ActionTransformer, HeadSizes
from mola_core.nets.protocols import HeadCondition, ItemDraws

TIME_SCALE = 1000.0
"""The last noise level as the number embedding sees it; the first is 0."""
_SHIFT, _LARGEST_BETA = 0.008, 0.999
"""Of the squared-cosine schedule (Nichol and Dhariwal 2021)."""


class DdpmHead(nn.Module):
    """An ``ActionHead``."""

    def __init__(self, config: DdpmHeadConfig, sizes: HeadSizes) -> None:
        super().__init__()
        self.config = config
        self.default_steps = config.steps
        self.transformer = ActionTransformer(config.dit, sizes)
        self.kept = squared_cosine(config.levels)
        """How much of the data's variance each noise level leaves, falling."""

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
        levels = self.config.levels
        level = (draws.uniform("action level") * levels).long().clamp(max=levels - 1)  # B
        kept = torch.tensor(self.kept, dtype=actions.dtype, device=actions.device)[level][:, None, None]  # B 1 1
        noise = draws.normal("action noise", actions.shape[1:]).to(actions.dtype)
        noisy = kept.sqrt() * actions + (1 - kept).sqrt() * noise
        context = self.transformer.context(condition, draws=draws)
        error = (self._noise_in(noisy, level=level[:, None], context=context) - noise).square().mean(dim=-1)  # B K
        return masked_mean(weighted(error, weight), mask=mask, count=count)

    def counted(self, mask: Bool[Tensor, "B K"], *, draws: ItemDraws) -> Int[Tensor, ""]:  # noqa: ARG002  the protocol's
        """Real rows."""
        return mask.sum()

    def sample(self, condition: HeadCondition, *, noise: Float[Tensor, "B K A"], steps: int) -> Float[Tensor, "B K A"]:
        return self.sample_from(self.transformer.context(condition), noise=noise, steps=steps)

    def sample_from(
        self, context: Float[Tensor, "B M D"], *, noise: Float[Tensor, "B K A"], steps: int
    ) -> Float[Tensor, "B K A"]:
        """DDIM without noise on the way, from the last level to none in ``steps`` even strides; as many as levels at most."""
        actions = noise
        for level, following in pairwise(self._strides(steps)):
            kept, left = self.kept[level], 1.0 if following < 0 else self.kept[following]
            at = torch.full((len(noise), 1), level, device=noise.device)
            found = self._noise_in(actions, level=at, context=context)
            # where hardly anything of the data is left, a small error in the noise is a large one in what lies beneath
            clean = ((actions - (1 - kept) ** 0.5 * found) / kept**0.5).clamp(-self.config.span, self.config.span)
            found = (actions - kept**0.5 * clean) / (1 - kept) ** 0.5
            actions = left**0.5 * clean + (1 - left) ** 0.5 * found
        return actions

    def _strides(self, steps: int) -> list[int]:
        """Levels to stop at, falling; −1 stands for the data."""
        levels = self.config.levels
        steps = min(steps, levels)
        return [round((steps - step) * levels / steps) - 1 for step in range(steps + 1)]

    def _noise_in(
        self, noisy: Float[Tensor, "B K A"], *, level: Int[Tensor, "B 1"], context: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B K A"]:
        time = (TIME_SCALE / (self.config.levels - 1) * level).to(noisy.dtype)  # B 1, the same for all rows
        found: Tensor = self.transformer(noisy, time=time, context=context)
        return found


def squared_cosine(levels: int) -> tuple[float, ...]:
    """Of each of ``levels`` noise levels, the share of the data's variance that it leaves."""

    def share(at: int) -> float:
        return math.cos((at / levels + _SHIFT) / (1 + _SHIFT) * math.pi / 2) ** 2

    kept, shares = 1.0, []
    for level in range(levels):
        kept *= 1 - min(1 - share(level + 1) / share(level), _LARGEST_BETA)
        shares.append(kept)
    return tuple(shares)
