"""The action head of the paper: flow matching (Lipman et al. 2023) with the action transformer.

Flow time runs from noise at 0 to data at 1; the network predicts the velocity ``data − noise``. In training r draws of noise and time
share each item's condition (``FlowHeadConfig.draws``): rB items.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.config import FlowHeadConfig
from mola_core.nets.dit import ActionTransformer, HeadSizes, Settled
from mola_core.nets.protocols import HeadCondition, ItemDraws

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
        draws: ItemDraws,
        weight: Float[Tensor, "B"] | None = None,
        count: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, ""]:
        times, shape = self.config.draws, actions.shape[1:]
        context = self.transformer.context(condition, draws=draws)
        settled = self._settled(mask, draws=draws)  # rB K
        actions, mask, context = (torch.cat([each] * times) for each in (actions, mask, context))
        weight = None if weight is None else weight.repeat(times)
        noise = _side_by_side(draws.normal("action noise", (times, *shape))).to(actions.dtype)  # rB K A
        late = _side_by_side(draws.uniform("flow time", (times, 1))).to(actions.dtype)  # rB 1
        flow_t = 1 - late ** (1 / self.config.early_bias)
        if self.config.max_prefix:  # otherwise all rows share one time, and what follows from it is computed once
            flow_t = torch.where(settled, 1.0, flow_t)  # rB K
        mixed = (1 - flow_t[..., None]) * noise + flow_t[..., None] * actions
        velocity = self.transformer(mixed, time=TIME_SCALE * flow_t, context=context)
        error = (velocity - (actions - noise)).square().mean(dim=-1)  # rB K
        return masked_mean(weighted(error, weight), mask=mask & ~settled, count=count)

    def counted(self, mask: Bool[Tensor, "B K"], *, draws: ItemDraws) -> Int[Tensor, ""]:
        """Real rows that are not settled, in every draw."""
        return (mask.repeat(self.config.draws, 1) & ~self._settled(mask, draws=draws)).sum()

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

    def _settled(self, mask: Bool[Tensor, "B K"], *, draws: ItemDraws) -> Bool[Tensor, "rB K"]:
        """Half of the draws without a prefix, the rest with one of 1 … ``max_prefix`` rows."""
        rows = mask.shape[1]
        longest = min(self.config.max_prefix, rows - 1)
        if not self.training or longest == 0:
            return torch.zeros_like(mask).repeat(self.config.draws, 1)
        share = _side_by_side(draws.uniform("prefix", (self.config.draws, 1)))  # rB 1; none below a half
        lengths = ((2 * share - 1) * longest).floor() + 1
        return torch.arange(rows, device=mask.device)[None] < lengths


def _side_by_side(drawn: Float[Tensor, "B r *rest"]) -> Float[Tensor, "rB *rest"]:
    """The draws of every item as batch items of their own, the whole batch once for each."""
    return drawn.transpose(0, 1).flatten(0, 1)


def _at(flow_t: float, noise: Float[Tensor, "B K A"]) -> Float[Tensor, "B 1"]:
    """One flow time for all rows, as the network sees it."""
    return torch.full((len(noise), 1), TIME_SCALE * flow_t, dtype=noise.dtype, device=noise.device)


def _begun(actions: Float[Tensor, "B K A"], prefix: Prefix | None) -> Float[Tensor, "B K A"]:
    """``actions`` with the rows that are settled."""
    return actions if prefix is None else torch.where(prefix.settled[..., None], prefix.actions, actions)
