"""Stage III: mixture, visual tokens and action head learn together from demonstrations; the video model is frozen."""

import dataclasses
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.normalization import Normalization
from mola_core.data.sample import SampleSource, WindowSpec
from mola_core.data.windows import Split, WindowedSource
from mola_core.nets.averages import masked_mean, weighted
from mola_core.nets.codebook import perplexity_of
from mola_core.nets.config import ImageEncoderConfig
from mola_core.nets.mola import Conditioned, Imagination, Mola, NetObservation
from mola_core.training.attention_maps import attention_picture
from mola_core.training.batches import on_device
from mola_core.training.cell_reader import CellReader, asked_of_cells, cell_readers
from mola_core.training.datasets import Chosen, Joined, Part, joined_or_none, mixed
from mola_core.training.draws import Draws
from mola_core.training.imagining import backbone_of, encoded, imagine_from
from mola_core.training.jitter import jittered
from mola_core.training.naming import all_but
from mola_core.training.optimization import working_dtype
from mola_core.training.order import Share
from mola_core.training.recipe import PictureJitter, PolicyStage
from mola_core.training.resident import Field, arranged, resident
from mola_core.training.rows import rows_of
from mola_core.training.samples import spaced
from mola_core.training.stage import Batch, BatchSource, Learner, Pictures, Stage
from mola_core.training.stage2_idm import code_usage
from mola_core.training.tensors import EncodedSentences, as_pictures, instruction_in
from mola_core.training.whole import Whole
from mola_core.training.workbench import Cached, Workbench

_SHOWN = 4
_PLACE = 3
"""The first numbers of an action say where the tool goes."""


class Demonstrations:
    """Rows with the actions that follow, and with cached features of the imagination where there are some; a ``BatchSource``."""

    resident = False

    def __init__(
        self,
        source: SampleSource,
        *,
        part: Part,
        sentences: EncodedSentences,
        normalization: Normalization,
        features: Cached | None,
        with_pictures: bool,
        labels: tuple[str, ...] = (),
    ) -> None:
        self._source, self._part, self._sentences, self._features = source, part, sentences, features
        self._numbers = part.rows.numbers_of(rows_of(source))
        self._normalization = normalization
        self._with_pictures, self._labels = with_pictures, labels
        self._draws = 1 if features is None else features.shape[1]

    def __len__(self) -> int:
        return len(self._source) * self._draws

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        draw, numbers = np.divmod(np.asarray(indices), len(self._source))
        motions = [self._source.motion(int(number)) for number in numbers]
        state = np.stack([motion.state for motion in motions])
        actions = np.stack([motion.actions for motion in motions])
        rows = self._numbers[numbers]
        batch: Batch = {
            "state": torch.from_numpy(self._normalization.normalize_state(state)),
            "actions": torch.from_numpy(self._normalization.normalize_actions(actions, state=state)),
            "mask": torch.from_numpy(np.stack([motion.action_mask for motion in motions])),
            **self._sentences.batch(self._part.rows.sentence[rows]),
        }
        if self._features is not None:
            batch["features"] = torch.from_numpy(self._features[rows, draw])  # B C T F h w
        if self._with_pictures:
            batch["frames"] = torch.from_numpy(self._source.batch(numbers).frames[:, :, 0])  # B C H W 3
        if self._labels:
            labels = self._source.labels(numbers)
            batch |= {name: torch.from_numpy(labels[name][:, :, 0]) for name in self._labels}  # B C h w
        return batch

    def fields(self) -> dict[str, Field] | None:
        """See :class:`~mola_core.training.resident.Tabular`; cached features are too many to be held."""
        views = self._source.views if isinstance(self._source, WindowedSource) else None
        if self._features is not None or views is None:
            return None
        if not isinstance(self._source, WindowedSource):
            return None
        motions = [self._source.motion(number) for number in range(len(self._source))]
        state = np.stack([motion.state for motion in motions])
        actions = np.stack([motion.actions for motion in motions])
        rows = self._source.window_rows[0][:, :1]  # n 1
        sentence = self._part.rows.sentence[self._numbers]
        labels = self._source.labels(np.arange(len(self._source))) if self._labels else {}
        return {
            "state": arranged(self._normalization.normalize_state(state)),
            "actions": arranged(self._normalization.normalize_actions(actions, state=state)),
            "mask": arranged(np.stack([motion.action_mask for motion in motions])),
            "frames": Field(tables=views, rows=np.arange(len(views)) * len(views[0]) + rows),  # n C
            **{name: Field(tables=(table.numpy(),), rows=sentence) for name, table in self._sentences.every.items()},
            **{name: arranged(labels[name][:, :, 0]) for name in self._labels},  # n C h w
        }


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
            present = encoded(self.model, images[:, :, None])[:, :, 0]
            noise = draws.normal("imagination", (images.shape[1], backbone.num_frames, *backbone.latent_shape))
            return imagine_from(
                self.model,
                present,
                instruction=instruction_in(batch),
                noise=noise,
                features_only=not self.model.needs_latents,
            )

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


def policy_window(io: IoSpec, *, labels: tuple[str, ...] = ()) -> WindowSpec:
    """The present and the actions that follow it."""
    return WindowSpec(views=io.views, offsets=(0,), horizon=io.horizon, labels=labels)


def policy_learner(spec: PolicyStage, model: Mola) -> Learner[PolicyObjective]:
    """Trains all but the video model, and but the mixture where the recipe freezes that.

    Raises:
        ConfigError: what is to be cached cannot be, or cells are asked that the model's reader does not have.
    """
    _require_cacheable(spec, model)
    objective = PolicyObjective(model, spec)
    trained = ["model.visual", "model.head"]
    trained += ["readout"] if objective.readout is not None else []
    trained += ["cells"] if objective.cells else []
    if model.mixture is not None and spec.mixture != "frozen":
        trained += ["model.tokens", "model.mixture"]
    return Learner(objective, frozen=all_but(objective, trained))


def policy_stage(spec: PolicyStage, bench: Workbench, *, normalization: Normalization) -> Stage:
    """:func:`policy_learner` on demonstrations.

    Raises:
        ConfigError: see there; or openings are asked for, and the demonstrations have none.
    """
    learner = policy_learner(spec, bench.model)
    objective = learner.objective

    def sources(split: Split) -> list[Demonstrations]:
        return [_source(spec, bench, part, split, normalization) for part in bench.parts]

    training, shares = _mixed(spec, resident(sources("train"), bench.world), bench)
    validation = joined_or_none(sources("validation"))
    split: Split = "train" if validation is None else "validation"
    shown = _source(spec, bench, bench.parts[0], split, normalization, with_pictures=True)

    def pictures() -> Pictures:
        if bench.model.mixture is None:
            return {}
        batch = on_device(shown.batch(spaced(len(shown), _SHOWN)), bench.world.device)
        return {"attention": attention(objective, batch), "codes": code_usage(bench.model)}

    return Stage(
        name="policy",
        spec=spec,
        objective=objective,
        frozen=learner.frozen,
        training=training,
        shares=shares,
        validation=validation,
        sums=objective.sums,
        pictures=pictures,
    )


def require_openings(counts: Sequence[int], *, rows: int) -> None:
    """Refuse demonstrations none of whose samples is among the first ``rows`` of its episode; ``counts`` are by dataset.

    Raises:
        ConfigError: so it is.
    """
    if not any(counts):
        raise ConfigError(
            f"no row of the demonstrations is among the first {rows} of its episode; set policy.openings=null"
        )


def _mixed(spec: PolicyStage, sources: Sequence[BatchSource], bench: Workbench) -> tuple[Joined, tuple[Share, ...]]:
    """All demonstrations by their weights, and their openings once more where they have a share of their own."""
    weights = [part.weight for part in bench.parts]
    if spec.openings is None:
        return mixed(sources, weights)
    window, rows, share = policy_window(bench.recipe.io), spec.openings.rows, spec.openings.share
    openings = [
        Chosen(source, np.flatnonzero(rows_of(part.open(window, "train")).row < rows))
        for source, part in zip(sources, bench.parts, strict=True)
    ]
    require_openings([len(opening) for opening in openings], rows=rows)
    # where a policy led first, what it did there is not imitated: such a dataset has none
    having = [(opening, weight) for opening, weight in zip(openings, weights, strict=True) if len(opening)]
    scale = share / (1.0 - share) * sum(weights) / sum(weight for _, weight in having)
    again = [weight * scale for _, weight in having]
    return mixed([*sources, *(opening for opening, _ in having)], [*weights, *again])


def attention(objective: PolicyObjective, batch: Batch) -> UInt8[np.ndarray, "height width 3"]:
    """Where the mixture looks on some imagined transitions; ``batch`` holds frames."""
    draws = Draws(seed=0, places=range(len(batch["state"])), device=batch["state"].device)
    imagination = objective.imagined(batch, objective.observed(batch, light=None, draws=draws), draws)
    if imagination is None:
        raise ValueError("without imagination there is no transition")
    transition = objective.model.transition(as_pictures(batch["frames"]), imagination=imagination)
    return attention_picture(objective.model, transition, batch["frames"].cpu().numpy())


def _source(
    spec: PolicyStage,
    bench: Workbench,
    part: Part,
    split: Split,
    normalization: Normalization,
    *,
    with_pictures: bool = False,
) -> Demonstrations:
    cached = spec.cache_features and bench.model.backbone is not None
    labels = tuple(asked_of_cells(spec))
    source = part.open(policy_window(bench.recipe.io, labels=labels), split)
    return Demonstrations(
        source,
        part=part,
        sentences=bench.sentences(part),
        normalization=normalization,
        features=bench.imagined_features(part) if cached else None,
        with_pictures=with_pictures or not cached or isinstance(bench.recipe.model.visual, ImageEncoderConfig),
        labels=labels,
    )


def _require_cacheable(spec: PolicyStage, model: Mola) -> None:
    if spec.cache_features and model.needs_latents:
        raise ConfigError(
            "tokens from pixels need imagined pictures, which are not cached; set policy.cache_features=false"
        )
