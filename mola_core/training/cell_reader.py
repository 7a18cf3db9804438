"""What a reader's cells of the present say of each part of the picture: lessons beside the actions, dropped after training."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mola_core.contracts.errors import ConfigError
from mola_core.data.labels.info import LabelInfo, MapsInfo
from mola_core.data.sample import GOES_TO
from mola_core.nets.config import DecodersConfig
from mola_core.nets.keypoints import Keypoints
from mola_core.nets.mola import Mola
from mola_core.training.label_targets import enlarged
from mola_core.training.recipe import PolicyStage

NUM_CLASSES = {"semantic": DecodersConfig().modalities["semantic"].channels, "referred": GOES_TO + 1}
"""Of each label that cells may be asked for; of semantic ones as many as stage II draws."""
_FINER = 2
"""Labels for each cell of the reader, each way."""


class CellReader(nn.Module):
    """Classes of a grid twice as fine as the cells, from what the reader makes of each; rare classes weigh more than they are many."""

    def __init__(self, width: int, *, classes: int) -> None:
        super().__init__()
        self._classes = classes
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, classes * _FINER**2)

    def forward(
        self,
        cells: Float[Tensor, "C B h w I"],
        labels: Int[Tensor, "B C y x"],
        *,
        counts: Float[Tensor, "classes"],
        parts: int,
    ) -> Float[Tensor, ""]:
        """Cross-entropy of ``labels`` of any size; ``counts`` are those of the whole batch, of which this is one of ``parts``."""
        logits = self.leave(self.norm(cells)).float()
        logits = rearrange(logits, "c b h w (k i j) -> (b c) k (h i) (w j)", i=_FINER, j=_FINER)
        weight = (counts + 1).rsqrt()
        target = self._target(labels, grid=(cells.shape[-3], cells.shape[-2]))
        error = functional.cross_entropy(logits, target, weight=weight, reduction="sum")
        return error * parts / (counts * weight).sum()

    def counts(self, labels: Int[Tensor, "B C y x"], *, grid: tuple[int, int]) -> Int[Tensor, "classes"]:
        """How often each class is asked for, of cells in ``grid`` (down, across)."""
        return torch.bincount(self._target(labels, grid=grid).flatten(), minlength=self._classes)

    @staticmethod
    def _target(labels: Int[Tensor, "B C y x"], *, grid: tuple[int, int]) -> Int[Tensor, "BC h2 w2"]:
        return enlarged(labels.float(), (_FINER * grid[0], _FINER * grid[1])).flatten(0, 1).long()


def asked_of_cells(spec: PolicyStage) -> dict[str, float]:
    """The labels that cells are asked for, and what each counts."""
    weights = {"semantic": spec.semantic_weight, "referred": spec.referred_weight}
    return {name: weight for name, weight in weights.items() if weight > 0.0}


def cell_readers(spec: PolicyStage, model: Mola) -> nn.ModuleDict:
    """One for each label that cells are asked for.

    Raises:
        ConfigError: the model's reader has no cells.
    """
    names = tuple(asked_of_cells(spec))
    if not names:
        return nn.ModuleDict()
    if not isinstance(model.visual, Keypoints) or model.visual.look is None:
        raise ConfigError(
            f"policy.{names[0]}_weight asks the cells of a reader of keypoints with blocks what they show; set it to 0, or "
            "model.visual.kind=keypoints and model.visual.blocks=1"
        )
    width = model.visual.config.inner
    return nn.ModuleDict({name: CellReader(width, classes=NUM_CLASSES[name]) for name in names})


def require_class_labels(label: str, info: LabelInfo, *, name: str) -> None:
    """Refuse labels that are a picture model's features, and class numbers too large to be said.

    Raises:
        ConfigError: names dataset ``name`` and what to change.
    """
    if isinstance(info, MapsInfo):
        raise ConfigError(
            f"dataset {name}: its {label} labels are a picture model's features; policy.{label}_weight needs classes: set it to 0"
        )
    largest = max(info.class_of_geom, default=0)
    if label == "semantic" and largest >= NUM_CLASSES[label]:
        raise ConfigError(
            f"dataset {name}: {label} class {largest} is beyond the {NUM_CLASSES[label]} that policy.{label}_weight knows; set it to "
            "0, or label with fewer classes"
        )
