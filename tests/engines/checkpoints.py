"""Models on disk, as training leaves them."""

from pathlib import Path

from mola_core.export.exporting import Exportable
from mola_core.training.checkpoint import MODEL_PREFIX, Checkpoint, save_checkpoint
from mola_core.training.recipe import Recipe
from mola_core.training.recipes.twin_tiny import twin_tiny


def saved(model: Exportable, path: Path, *, stage: str = "policy", language_digest: str | None = None) -> Path:
    config = model.mola.config
    changes = {"io": model.io.model_dump(), "model": config.model_dump()}
    if config.backbone is None:
        changes |= {"autoencoder": None, "video": None}
    if config.mixture is None:
        changes |= {"idm": None}
    recipe = Recipe.model_validate(twin_tiny().model_dump() | changes)
    checkpoint = Checkpoint(
        path=path,
        recipe=recipe,
        normalization=model.normalization if stage == "policy" else None,
        stage=stage,
        step=3,
        metrics={"loss": 0.5},
        git={"commit": "abc", "dirty": False},
        language_digest=language_digest,
    )
    save_checkpoint(
        checkpoint, weights={f"{MODEL_PREFIX}{name}": tensor for name, tensor in model.mola.state_dict().items()}
    )
    return path
