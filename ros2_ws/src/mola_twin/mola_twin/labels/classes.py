"""The things that a pixel may show, as small numbers."""

import numpy as np
from jaxtyping import UInt8

from mola_twin.cell import layout
from mola_twin.cell.gripper import FINGERS
from mola_twin.cell.model import CellModel, build_cell_model

CLASSES = (
    "background",
    "table",
    "arm",
    "gripper",
    *layout.MOVABLE,
    "bin",
    "cabinet",
    "drawer",
    "button",
    "distractor",
)
"""What no instruction names is one class, so that they fit the 16 of the networks' decoder. Class numbers are positions in this
tuple; new ones are added at its end.
"""

_GRIPPER = ("gripper", *FINGERS)


def class_of_geom(cell: CellModel | None = None) -> UInt8[np.ndarray, "geoms"]:
    """The class of each geom. Without a model, of the one with distractors, whose geoms begin with those of the one without."""
    model = (cell or build_cell_model(distractors=True)).model
    return np.array([CLASSES.index(_class(model, geom)) for geom in range(model.ngeom)], np.uint8)


def body_of_geom(cell: CellModel | None = None) -> UInt8[np.ndarray, "geoms"]:
    """The body that each geom moves with; of which model as for :func:`class_of_geom`."""
    model = (cell or build_cell_model(distractors=True)).model
    return model.geom_bodyid.astype(np.uint8)


def _class(model: object, geom: int) -> str:
    body = str(model.body(model.geom_bodyid[geom]).name)  # type: ignore[attr-defined]  # mujoco has no types
    name = str(model.geom(geom).name)  # type: ignore[attr-defined]
    if body == "world":
        return "table" if name in {"table", "table_top"} else "background"
    if body == "plunger":
        return "button"
    if body in layout.DISTRACTORS:
        return "distractor"
    if body in CLASSES:
        return body
    return "gripper" if body in _GRIPPER else "arm"
