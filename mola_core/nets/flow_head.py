"""The action head of the paper: flow matching (Lipman et al. 2023) with the action transformer.

Flow time runs from noise at 0 to data at 1; the network predicts the velocity ``data − noise``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.config import FlowHeadConfig
from mola_core.nets.dit import ActionTransformer, HeadSizes, Settled
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
    """An ``ActionHead``; where training showed it settled rows (``max_prefix``), those stand clean at flow time 1 and it continues
    them. Forcing rows on a head that never was shown any takes it off its own path: it did worse in closed loop than untold.
    """

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
        """Euler steps from ``noise``; with a prefix, its rows come back as they were and the others fit them.

        Raises:
            ValueError: a prefix for a head that was shown none in training.
        """
        return self.sample_from(self.transformer.context(condition), noise=noise, steps=steps, prefix=prefix)

    def sample_from(
        self,
        context: Float[Tensor, "B M D"],
        *,
        noise: Float[Tensor, "B K A"],
        steps: int,
        prefix: Prefix | None = None,
    ) -> Float[Tensor, "B K A"]:
        if prefix is not None and not self.config.max_prefix:
            raise ValueError(
                "this head was shown no settled rows in training (max_prefix is 0) and cannot continue any"
            )
        actions = _begun(noise, prefix)
        settled = None if prefix is None else Settled(rows=prefix.settled, time=_at(1.0, noise))
        for step in range(steps):
            velocity = self.transformer(actions, time=_at(step / steps, noise), context=context, settled=settled)
            actions = _begun(actions + velocity / steps, prefix)
        return actions

    def _drawn_prefix(self, batch: int, rows: int, *, device: torch.device) -> Bool[Tensor, "B K"]:
        """Half of the batch without a prefix, the rest with one of 1 … ``max_prefix`` rows."""
        longest = min(self.config.max_prefix, rows - 1)
        if not self.training or longest == 0:
            return torch.zeros(batch, rows, dtype=torch.bool, device=device)
        lengths = torch.randint(1, longest + 1, (batch, 1), device=device)
        lengths = lengths * (torch.rand(batch, 1, device=device) < 0.5)
        return torch.arange(rows, device=device)[None] < lengths


def _at(flow_t: float, noise: Float[Tensor, "B K A"]) -> Float[Tensor, "B 1"]:
    """One flow time for all rows, as the network sees it."""
    return torch.full((len(noise), 1), TIME_SCALE * flow_t, dtype=noise.dtype, device=noise.device)


def _begun(actions: Float[Tensor, "B K A"], prefix: Prefix | None) -> Float[Tensor, "B K A"]:
    """``actions`` with the rows that are settled."""
    return actions if prefix is None else torch.where(prefix.settled[..., None], prefix.actions, actions)
