"""What stage III asks of a policy: the demonstrated actions, and what the recipe asks beside them."""

import dataclasses
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.codebook import perplexity_of
from mola_core.nets.mola import Conditioned, Imagination, Mola, NetObservation
from mola_core.nets.tokens import Transition
from mola_core.training.cell_reader import CellReader, asked_of_cells, cell_readers
from mola_core.training.draws import Draws
from mola_core.training.frozen_video import backbone_of
from mola_core.training.jitter import jittered
from mola_core.training.optimization import working_dtype
from mola_core.training.recipe import PictureJitter, PolicyStage
from mola_core.training.stage import Batch
from mola_core.training.tensors import as_pictures, instruction_in
from mola_core.training.whole import Whole

_PLACE = 3
"""The first numbers of an action say where the tool goes."""


class PolicyObjective(nn.Module):
    """The head's loss and the codebooks' commitment."""

    def __init__(self, model: Mola, spec: PolicyStage) -> None:
        super().__init__()
        self.model = model
        self.readout = _readout(model) if spec.readout_weight > 0.0 else None
        self.cells = cell_readers(spec, model)
        self._spec = spec

    def sums(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """How many rows are real, what the head's loss is a mean over, what samples weigh together, and cells of every class."""
        mask = batch["mask"].to(draws.device)
        found = {"rows": mask.sum(), "taught": self.model.head.counted(mask, draws=draws)}
        if self._spec.reach is not None:
            found["weight"] = nearness(batch["actions"].to(draws.device), mask=mask, reach=self._spec.reach).sum()
        for name, reader in self.cells.items():
            _, rows, columns = backbone_of(self.model).feature_shape  # a reader's cells are those of the features
            found[name] = cast(CellReader, reader).counts(batch[name].to(draws.device), grid=(rows, columns))
        return found

    def forward(self, batch: Batch, draws: Draws, whole: Whole) -> dict[str, Tensor]:
        light = self._spec.jitter if self.training else None
        observation = self.observed(batch, light=light, draws=draws)
        imagination = self.imagined(batch, observation, draws)
        if self.training and observation.state is not None:
            noise = self._spec.state_noise * draws.normal("state", observation.state.shape[1:])
            observation = dataclasses.replace(observation, state=observation.state + noise)
        actions, mask = batch["actions"], batch["mask"]
        conditioned = self.model.condition(observation, imagination=imagination)
        reach = self._spec.reach
        weight = None if reach is None else nearness(actions, mask=mask, reach=reach)
        if weight is not None:
            weight = weight * len(weight) / whole.share("weight")  # 1 on average over the whole batch
        terms = self.model.losses_of(
            conditioned, actions=actions, mask=mask, draws=draws, weight=weight, count=whole.count("taught")
        )
        total = terms["action"]
        if self.readout is not None:
            read = self.readout(conditioned.head.visual.flatten(1)).reshape(actions.shape)
            missed = (read.float() - actions).square().mean(dim=-1)  # B K
            terms["readout"] = masked_mean(weighted(missed, weight), mask=mask, count=whole.count("rows"))
            total = total + self._spec.readout_weight * terms["readout"]
        if conditioned.cells is not None:
            for name, counts in asked_of_cells(self._spec).items():
                terms[name] = self.cells[name](
                    conditioned.cells, batch[name], counts=whole.total(name), parts=whole.parts
                )
                total = total + counts * terms[name]
        if "commitment" in terms:
            total = total + self._spec.commitment_weight * terms["commitment"]
        if self.training:
            return {"loss": total, **terms}
        missed = self._action_errors(batch, observation, imagination, draws)
        told = {"action_error": masked_mean(missed, mask=mask, count=whole.count("rows"))}
        return {"loss": total, **terms, **told, **self._told_apart(conditioned)}

    def _told_apart(self, conditioned: Conditioned) -> dict[str, Tensor]:
        """Codes that each member tells apart in this part of the batch: latent actions that are always the same tell the head nothing.

        Of fewer samples it is less: what two processes say of their halves is not what one says of both.
        """
        mixture = self.model.mixture
        told = {}
        for name in {} if mixture is None else mixture.code_usage():  # those that have a codebook
            indices = conditioned.latent_actions[name].code_indices
            size = int(indices.max()) + 1
            told[f"{name}_told_apart"] = torch.tensor(perplexity_of(indices, size=size), device=indices.device)
        return told

    def observed(self, batch: Batch, *, light: PictureJitter | None, draws: Draws) -> NetObservation:
        """What the networks see of the batch, each row in other ``light``; no pixels where only cached features are read."""
        state = batch["state"]
        images = state.new_empty(len(state), 0, 3, 0, 0)
        if "frames" in batch:
            images = jittered(as_pictures(batch["frames"]), light, draws)
        return NetObservation(
            images=images,
            instruction=instruction_in(batch),
            state=state if self.model.config.state_size else None,
        )

    def imagined(self, batch: Batch, observation: NetObservation, draws: Draws) -> Imagination | None:
        """From the cache, or by the frozen video model from what is observed."""
        if self.model.backbone is None:
            return None
        if "features" in batch:
            return Imagination(features=batch["features"].to(working_dtype(observation.images.device)), latents=None)
        backbone, images = backbone_of(self.model), observation.images
        with torch.no_grad():
            noise = draws.normal("imagination", (images.shape[1], backbone.num_frames, *backbone.latent_shape))
            return self.model.imagine(
                images,
                instruction=instruction_in(batch),
                noise=noise,
                features_only=not self.model.needs_latents,
            )

    def transition(self, batch: Batch) -> Transition:
        """Tokens of now and of what is imagined, of a batch that holds frames. ValueError without imagination."""
        draws = Draws(seed=0, places=range(len(batch["state"])), device=batch["state"].device)
        imagination = self.imagined(batch, self.observed(batch, light=None, draws=draws), draws)
        if imagination is None:
            raise ValueError("without imagination there is no transition")
        return self.model.transition(as_pictures(batch["frames"]), imagination=imagination)

    def _action_errors(
        self, batch: Batch, observation: NetObservation, imagination: Imagination | None, draws: Draws
    ) -> Float[Tensor, "B K"]:
        """Mean distance of each sampled from its demonstrated row, in normalised units."""
        condition = self.model.condition(observation, imagination=imagination).head
        noise, head = draws.normal("actions", batch["actions"].shape[1:]), self.model.head
        sampled = head.sample(condition, noise=noise, steps=head.default_steps)
        return (sampled - batch["actions"]).abs().mean(dim=-1)


def nearness(actions: Float[Tensor, "B K A"], *, mask: Bool[Tensor, "B K"], reach: float) -> Float[Tensor, "B"]:
    """How much each sample counts beside the others, at most 1; see ``PolicyStage.reach``."""
    lengths = actions[..., :_PLACE].square().sum(dim=-1)  # B K, squared
    moved = (lengths * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)  # B
    return 1 / (1 + moved / reach**2)


def _readout(model: Mola) -> nn.Sequential:
    """Visual tokens, flattened → all actions; zero in the beginning."""
    numbers = model.visual.num_tokens * model.visual.width
    leave = nn.Linear(numbers, model.config.horizon * model.config.action_size)
    nn.init.zeros_(leave.weight)
    nn.init.zeros_(leave.bias)
    return nn.Sequential(nn.LayerNorm(numbers), leave)
