"""What a reader's cells of the present say of each part of the picture: lessons beside the actions, dropped after training."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mola_core.contracts.errors import ConfigError
from mola_core.data.sample import GOES_TO, SampleSource
from mola_core.nets.config import DecodersConfig
from mola_core.nets.keypoints import Keypoints
from mola_core.nets.mola import Mola
from mola_core.training.recipe import PolicyStage
from mola_core.training.stage2_idm import enlarged

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

    def forward(self, cells: Float[Tensor, "C B h w I"], labels: Int[Tensor, "B C y x"]) -> Float[Tensor, ""]:
        """Cross-entropy of ``labels`` of any size."""
        logits = self.leave(self.norm(cells)).float()
        logits = rearrange(logits, "c b h w (k i j) -> (b c) k (h i) (w j)", i=_FINER, j=_FINER)
        size = (logits.shape[-2], logits.shape[-1])
        target = enlarged(labels.float(), size).flatten(0, 1).long()
        counts = torch.bincount(target.flatten(), minlength=self._classes).float()
        return functional.cross_entropy(logits, target, weight=(counts + 1).rsqrt())


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


def require_classes(source: SampleSource, *, name: str) -> None:
    """Refuse labels that are a picture model's features, and class numbers too large to be said, as the first sample has them.

    Raises:
        ConfigError: names dataset ``name`` and what to change.
    """
    for label, found in source.sample(0).labels.items():
        if found.dtype.name != "uint8":
            raise ConfigError(
                f"dataset {name}: its {label} labels are a picture model's features; policy.{label}_weight needs classes: set it to 0"
            )
        if int(found.max()) >= NUM_CLASSES[label]:
            raise ConfigError(
                f"dataset {name}: {label} class {int(found.max())} is beyond the {NUM_CLASSES[label]} that "
                f"policy.{label}_weight knows"
            )
