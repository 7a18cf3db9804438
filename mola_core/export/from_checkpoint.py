"""A checkpoint with all that a bundle says of it."""

from pathlib import Path
from typing import Any

from mola_core.cli.report import git_state
from mola_core.contracts.normalization import Normalization
from mola_core.export.errors import ExportError
from mola_core.export.exporting import Exportable
from mola_core.export.stages import StageOptions
from mola_core.nets.language import ClipText
from mola_core.runtime.language import RememberingEncoder
from mola_core.training.checkpoint import Checkpoint, load_checkpoint, load_policy_modules
from mola_core.training.language import encoder_of, require_encoder


def exportable_of(path: Path, *, text: ClipText | None = None, language_weights: Path | None = None) -> Exportable:
    """The model in the checkpoint ``path``; ``text`` is the sentence encoder that the bundle takes along, where it does.

    Without ``text``, ``language_weights`` is the folder of an encoder that the project does not bring.

    Raises:
        CheckpointError: not the checkpoint of a trained policy, or one trained with another sentence encoder.
        ConfigError: the weights of the encoder cannot be loaded, or there is no use for them.
        ExportError: it does not say how its numbers are scaled.
    """
    mola, checkpoint = load_policy_modules(path)
    if text is not None:
        require_encoder(checkpoint, text.digest)
    return Exportable(
        mola=mola,
        io=checkpoint.recipe.io,
        normalization=normalization_of(checkpoint),
        language=encoder_of(checkpoint, weights=language_weights) if text is None else RememberingEncoder(text),
        text=text,
        git=git_state(),
        training=_record_of(checkpoint),
    )


def acting_options(path: Path) -> StageOptions:
    """How the recipe of the checkpoint ``path`` says that its policy is run.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
    """
    return options_of(load_checkpoint(path))


def options_of(checkpoint: Checkpoint) -> StageOptions:
    """As :func:`acting_options`, of a checkpoint that has been looked at already."""
    acting = checkpoint.recipe.acting
    return StageOptions(video_steps=acting.video_steps, action_steps=acting.action_steps, control=acting.control)


def normalization_of(checkpoint: Checkpoint) -> Normalization:
    """How the policy's numbers are scaled; a checkpoint of an earlier stage does not say."""
    if checkpoint.normalization is None:
        raise ExportError(
            f"{checkpoint.path} is of stage {checkpoint.stage!r} and does not act; give one of stage 'policy'"
        )
    return checkpoint.normalization


def _record_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "recipe": checkpoint.recipe.name,
        "stage": checkpoint.stage,
        "step": checkpoint.step,
        "metrics": dict(checkpoint.metrics),
        "weights_sha256": checkpoint.digest,
        "git": dict(checkpoint.git),
    }
