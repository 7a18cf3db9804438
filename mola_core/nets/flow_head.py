"""The action head of the paper: flow matching (Lipman et al. 2023) with the action transformer.

Flow time runs from noise at 0 to data at 1; the network predicts the velocity ``data − noise``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.config import FlowHeadConfig
from mola_core.nets.dit import ActionTransformer, HeadSizes
from mola_core.nets.protocols import HeadCondition

TIME_SCALE = 1000.0
"""Flow time as the number embedding sees it."""


@dataclass(frozen=True)
class Prefix:
    """Rows of the new chunk that are settled already, because they will have been executed by the time it arrives."""

    actions: Float[Tensor, "B K A"]
    settled: Bool[Tensor, "B K"]
    """True for the first rows."""


class FlowHead(nn.Module):
    """An ``ActionHead``; each row has a flow time of its own, and settled rows stand at 1."""

    def __init__(self, config: FlowHeadConfig, sizes: HeadSizes) -> None:
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
        weight: Float[Tensor, "B"] | None = None,
    ) -> Float[Tensor, ""]:
        context = self.transformer.context(condition)
        actions, mask, context = (torch.cat([each] * self.config.draws) for each in (actions, mask, context))
        weight = None if weight is None else weight.repeat(self.config.draws)
        batch, rows, _ = actions.shape
        noise = torch.randn_like(actions)
        flow_t = 1 - torch.rand(batch, 1, device=actions.device, dtype=actions.dtype) ** (1 / self.config.early_bias)
        settled = self._drawn_prefix(batch, rows, device=actions.device)  # B K
        if self.config.max_prefix:  # otherwise all rows share one time, and what follows from it is computed once
            flow_t = torch.where(settled, 1.0, flow_t)  # B K
        mixed = (1 - flow_t[..., None]) * noise + flow_t[..., None] * actions
        velocity = self.transformer(mixed, time=TIME_SCALE * flow_t, context=context)
        error = (velocity - (actions - noise)).square().mean(dim=-1)  # B K
        return masked_mean(weighted(error, weight), mask=mask & ~settled)

    def sample(
        self,
        condition: HeadCondition,
        *,
        noise: Float[Tensor, "B K A"],
        steps: int,
        prefix: Prefix | None = None,
    ) -> Float[Tensor, "B K A"]:
        """Euler steps from ``noise``; with a prefix, its rows come back as they were and the others fit them."""
        return self.sample_from(self.transformer.context(condition), noise=noise, steps=steps, prefix=prefix)

    def sample_from(
        self,
        context: Float[Tensor, "B M D"],
        *,
        noise: Float[Tensor, "B K A"],
        steps: int,
        prefix: Prefix | None = None,
    ) -> Float[Tensor, "B K A"]:
        actions = noise
        for step in range(steps):
            now = step / steps
            flow_t = torch.full((len(noise), 1), now, dtype=noise.dtype, device=noise.device)  # B 1, of all rows
            if prefix is not None:
                actions, flow_t = self._with_prefix(prefix, actions, noise=noise, flow_t=flow_t)
            actions = actions + self.transformer(actions, time=TIME_SCALE * flow_t, context=context) / steps
        if prefix is not None:
            actions = torch.where(prefix.settled[..., None], prefix.actions, actions)
        return actions

    def _with_prefix(
        self, prefix: Prefix, actions: Tensor, *, noise: Tensor, flow_t: Tensor
    ) -> tuple[Float[Tensor, "B K A"], Float[Tensor, "B #K"]]:
        """Settled rows clean at time 1 where training showed that; otherwise at the common time on their own straight path."""
        settled = prefix.settled[..., None]
        if self.config.max_prefix:
            # filled, not chosen by ``where``: that would copy the number from the host, which a CUDA graph cannot capture
            flow_t = flow_t.expand_as(prefix.settled).masked_fill(prefix.settled, 1.0)
            return torch.where(settled, prefix.actions, actions), flow_t
        on_path = (1 - flow_t[..., None]) * noise + flow_t[..., None] * prefix.actions
        return torch.where(settled, on_path, actions), flow_t

    def _drawn_prefix(self, batch: int, rows: int, *, device: torch.device) -> Bool[Tensor, "B K"]:
        """Half of the batch without a prefix, the rest with one of 1 … ``max_prefix`` rows."""
        longest = min(self.config.max_prefix, rows - 1)
        if not self.training or longest == 0:
            return torch.zeros(batch, rows, dtype=torch.bool, device=device)
        lengths = torch.randint(1, longest + 1, (batch, 1), device=device)
        lengths = lengths * (torch.rand(batch, 1, device=device) < 0.5)
        return torch.arange(rows, device=device)[None] < lengths
