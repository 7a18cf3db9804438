"""A checkpoint on disk: a folder of safetensors and JSON, complete or absent.

    checkpoint.json       format, recipe, contract and its hash, normalization, stage, step, metrics, git state, digest of the weights
    weights.safetensors   what is used afterwards (the averaged weights where a stage averages), by names of parameters
    training.safetensors  only in a resumable one: raw weights, optimizer state
    training.json         only in a resumable one: numbers that are no tensors (scaler, best validation loss)

Nothing in it is pickled, so a checkpoint from a stranger cannot run code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, device

from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.normalization import Normalization
from mola_core.nets.mola import Mola
from mola_core.training.recipe import Recipe

FORMAT = 1


class CheckpointError(MolaError):
    """A checkpoint is absent, damaged, of another format or of another architecture."""

    exit_code = 2


@dataclass(frozen=True)
class Checkpoint:
    """What ``checkpoint.json`` says; the tensors are read on request."""

    path: Path
    recipe: Recipe
    normalization: Normalization
    stage: str
    """The stage that wrote it; ``policy`` is the one that acts."""
    step: int
    metrics: Mapping[str, float]
    """Of the last validation."""
    git: Mapping[str, Any]
    digest: str
    """SHA-256 of ``weights.safetensors``, hexadecimal."""

    @property
    def contract(self) -> DataContract:
        return self.recipe.io.contract


@dataclass(frozen=True)
class ResumableState:
    """What a stage needs to go on as if it had never stopped. Random numbers and data order follow from the step alone."""

    tensors: Mapping[str, Tensor]
    """Raw weights under ``weights/…``, optimizer state under ``optimizer/…``."""
    numbers: Mapping[str, Any]
    """Plain JSON."""


def save_checkpoint(
    checkpoint: Checkpoint, *, weights: Mapping[str, Tensor], resumable: ResumableState | None = None
) -> None:
    """Write it under ``checkpoint.path``, which appears complete or not at all."""
    raise NotImplementedError


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what the checkpoint says of itself; its weights stay on disk.

    Raises:
        CheckpointError: nothing there, not a checkpoint, another format, or weights whose digest differs.
    """
    raise NotImplementedError


def read_weights(checkpoint: Checkpoint, *, on: device | str = "cpu") -> dict[str, Tensor]:
    """The weights by their names."""
    raise NotImplementedError


def load_policy_modules(path: Path, *, on: device | str = "cpu") -> tuple[Mola, Checkpoint]:
    """The model with its weights, in evaluation mode, and what its checkpoint says.

    Raises:
        CheckpointError: not the checkpoint of a trained policy, or weights that do not fit the model of its recipe.
    """
    raise NotImplementedError
