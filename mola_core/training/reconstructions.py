"""What stage II's decoders draw of the future, beside that future (figure 8 of the paper)."""

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from mola_core.training.idm_objective import IdmObjective
from mola_core.training.label_targets import targets_in
from mola_core.training.samples import as_classes, as_heat, as_motion, side_by_side
from mola_core.training.stage import Batch
from mola_core.training.tensors import as_frames, as_pictures
from mola_core.training.transitions import mixture_of


def reconstructions(objective: IdmObjective, batch: Batch) -> UInt8[np.ndarray, "height width 3"]:
    """The rows of :func:`reconstruction_rows` as one picture."""
    return side_by_side(reconstruction_rows(objective, batch))


def reconstruction_rows(objective: IdmObjective, batch: Batch) -> dict[str, UInt8[np.ndarray, "B H W 3"]]:
    """Now, the true future and what each member draws of it, in RGB and in its modality (figure 8 of the paper); first camera."""
    future = as_pictures(batch["future"])
    labels = targets_in(batch, mixture_of(objective.model).decoders, size=(future.shape[-2], future.shape[-1]))
    rows = {"now": batch["now"][:, 0].cpu().numpy(), "future": batch["future"][:, 0].cpu().numpy()}
    spans = {name: _span(value) for name, value in labels.items()}  # lowest and highest
    for name, value in labels.items():
        rows[f"true {name}"] = _shown(name, value[:, 0], spans[name])
    for member, drawn in objective.drawn(batch, imagined=False).items():
        rows[f"{member} rgb"] = as_frames(drawn["rgb"][:, 0])
        for name in labels.keys() & drawn.keys():
            rows[f"{member} {name}"] = _shown(name, _chosen(name, drawn[name][:, 0], labels[name]), spans[name])
    return rows


def _shown(
    name: str, values: Int[Tensor, "B H W"] | Float[Tensor, "B channels H W"], span: tuple[float, float]
) -> UInt8[np.ndarray, "B H W 3"]:
    """Frames of a modality: classes, depth (1 channel), flow (2), or a picture model's features."""
    array = values.float().cpu().numpy()
    if array.ndim == 3:
        return np.stack([as_classes(each) for each in array.astype(np.int64)])
    if name == "flow":
        return np.stack([as_motion(np.moveaxis(each, 0, -1), most=span[1]) for each in array])
    return np.stack([as_heat(each[0], low=span[0], high=span[1]) for each in array])  # of features the first number


def _chosen(
    name: str, drawn: Float[Tensor, "B channels H W"], label: Tensor
) -> Int[Tensor, "B H W"] | Float[Tensor, "B channels H W"]:
    """Classes where the label is classes, what was drawn itself elsewhere."""
    return drawn.argmax(dim=1) if name == "semantic" and label.ndim == 4 else drawn


def _span(values: Tensor) -> tuple[float, float]:
    """From 0, or alike to both sides where some are below it, as features and relative depth are."""
    most = float(values.float().abs().max())
    return (-most if bool((values < 0).any()) else 0.0), most
