"""Rows with the actions that follow them: what stage III learns from."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int

from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.normalization import Normalization
from mola_core.data.sample import SampleSource, WindowSpec
from mola_core.data.windows import Split, WindowedSource
from mola_core.nets.config import ImageEncoderConfig
from mola_core.training.cell_reader import asked_of_cells
from mola_core.training.datasets import Part
from mola_core.training.recipe import PolicyStage
from mola_core.training.resident import Field, arranged
from mola_core.training.rows import rows_of
from mola_core.training.stage import Batch
from mola_core.training.tensors import EncodedSentences
from mola_core.training.workbench import Cached, Workbench


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


def policy_window(io: IoSpec, *, labels: tuple[str, ...] = ()) -> WindowSpec:
    """The present and the actions that follow it."""
    return WindowSpec(views=io.views, offsets=(0,), horizon=io.horizon, labels=labels)


def demonstrations_of(
    part: Part,
    spec: PolicyStage,
    bench: Workbench,
    split: Split,
    *,
    normalization: Normalization,
    with_pictures: bool = False,
) -> Demonstrations:
    """The demonstrations of ``part`` as stage III sees them; ``with_pictures`` even where cached features suffice."""
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
