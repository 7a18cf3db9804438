"""Small bundles with random weights, made once a session: real graphs, real engines, no training."""

from pathlib import Path

import torch

from mola_core.contracts.io_spec import ACTION_SIZE, STATE_SIZE
from mola_core.contracts.normalization import Normalization, Scaling
from mola_core.export.bundle_making import make_bundle
from mola_core.export.exporting import Exportable, ExportPlan, export_model
from mola_core.export.stages import StageOptions
from mola_core.nets.language import build_encoder
from mola_core.nets.mola import build_mola
from mola_core.training.recipes.twin_tiny import twin_tiny


def make_random_bundle(root: Path, *, name: str, seed: int, scratch: Path) -> str:
    """A bundle of the tiny recipe under ``root``; its id."""
    recipe = twin_tiny()
    torch.manual_seed(seed)
    model = Exportable(
        mola=build_mola(recipe.model).eval(),
        io=recipe.io,
        normalization=_gentle(),
        language=build_encoder(recipe.model.language),
        training={"recipe": recipe.name, "step": 0},
    )
    plan = ExportPlan(name=name, version="1", options=StageOptions(precision="fp32", action_steps=2))
    draft = export_model(model, scratch / f"draft-{name}", plan=plan, say=lambda _line: None)
    make_bundle(draft, root, measure=False)
    return f"{name}/1"


def _gentle() -> Normalization:
    """Whatever the head says means millimetres and milliradians around the tool, and a gripper half open."""
    return Normalization(
        state=Scaling(offset=(0.0,) * STATE_SIZE, scale=(1.0,) * STATE_SIZE),
        action=Scaling(offset=(*(0.0,) * (ACTION_SIZE - 1), 0.5), scale=(*(0.002,) * (ACTION_SIZE - 1), 0.1)),
    )
