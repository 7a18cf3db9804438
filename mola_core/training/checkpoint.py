"""A checkpoint on disk: a folder of safetensors and JSON, complete or absent.

    checkpoint.json       format, recipe, contract and its hash, normalization, stage, step, metrics, git state, digests of the weights
                          and of the sentence encoder
    weights.safetensors   what is used afterwards (the averaged weights where a stage averages), by names of parameters
    training.safetensors  only in a resumable one: raw weights, optimizer state
    training.json         only in a resumable one: numbers that are no tensors (scaler, best validation loss)

Nothing in it is pickled, so a checkpoint from a stranger cannot run code.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.normalization import Normalization
from mola_core.nets.mola import Mola, build_mola
from mola_core.training.recipe import Recipe

FORMAT = 1
MODEL_PREFIX = "model."
"""What the names of the model's own weights begin with; others belong to training alone."""
_HEADER, _WEIGHTS = "checkpoint.json", "weights.safetensors"
_STATE_TENSORS, _STATE_NUMBERS = "training.safetensors", "training.json"
_UNFINISHED = ".unfinished-"


class CheckpointError(MolaError):
    """A checkpoint is absent, damaged, of another format or of another architecture."""

    exit_code = 2


@dataclass(frozen=True)
class Checkpoint:
    """What ``checkpoint.json`` says; the tensors are read on request."""

    path: Path
    recipe: Recipe
    normalization: Normalization | None
    """None before stage III, which is the first to see states and actions."""
    stage: str
    """The stage that wrote it; ``policy`` is the one that acts."""
    step: int
    metrics: Mapping[str, float]
    """Of the last validation."""
    git: Mapping[str, Any]
    digest: str = ""
    """SHA-256 of ``weights.safetensors``, hexadecimal; filled in by saving."""
    language_digest: str | None = None
    """Of the sentence encoder in training; see :class:`~mola_core.runtime.language.SentenceEncoder`. None: not known, as in older
    checkpoints and imported ones, or no sentence was read."""

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
    target = checkpoint.path
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target.parent)
    folder = target.parent / f"{_UNFINISHED}{uuid.uuid4().hex}"
    folder.mkdir()
    _write_tensors(folder / _WEIGHTS, weights)
    if resumable is not None:
        _write_tensors(folder / _STATE_TENSORS, resumable.tensors)
        _write_text(folder / _STATE_NUMBERS, json.dumps(dict(resumable.numbers), allow_nan=False))
    _write_text(folder / _HEADER, json.dumps(_header(checkpoint, digest=_digest(folder / _WEIGHTS)), indent=2))
    _flush(folder)
    _put_in_place(folder, target)


def _put_in_place(folder: Path, target: Path) -> None:
    before = target.parent / f"{_UNFINISHED}{uuid.uuid4().hex}"
    if target.exists():
        target.rename(before)
    folder.rename(target)
    _flush(target.parent)
    shutil.rmtree(before, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Clear away what a killed process left half-written."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what the checkpoint says of itself; its weights stay on disk.

    Raises:
        CheckpointError: nothing there, not a checkpoint, another format, or weights whose digest differs.
    """
    file = path / _HEADER
    if not file.is_file():
        raise CheckpointError(f"{path} is no checkpoint: it has no {_HEADER}; name a folder that `mola train` wrote")
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {said['format']!r}, this version reads {FORMAT}; train it anew")
        checkpoint = _from_header(path, said)
    except (ValidationError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{file} cannot be understood: {error}; restore the file or train anew") from error
    if not (path / _WEIGHTS).is_file():
        raise CheckpointError(f"{path} has no {_WEIGHTS}; fetch or copy it again")
    found = _digest(path / _WEIGHTS)
    if found != checkpoint.digest:
        raise CheckpointError(
            f"{path / _WEIGHTS} has digest {found[:12]}…, {_HEADER} says {checkpoint.digest[:12]}…; it is damaged or "
            "was not fetched whole: fetch it again"
        )
    return checkpoint


def read_weights(checkpoint: Checkpoint, *, on: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The weights by their names."""
    return _read_tensors(checkpoint.path / _WEIGHTS, on=on)


def read_resumable(checkpoint: Checkpoint) -> ResumableState:
    """What to go on from.

    Raises:
        CheckpointError: the checkpoint holds weights only.
    """
    if not (checkpoint.path / _STATE_NUMBERS).is_file():
        raise CheckpointError(f"{checkpoint.path} holds weights only; resume from one of the stage's step-… folders")
    numbers = json.loads((checkpoint.path / _STATE_NUMBERS).read_text(encoding="utf-8"))
    return ResumableState(tensors=_read_tensors(checkpoint.path / _STATE_TENSORS), numbers=numbers)


def load_policy_modules(path: Path, *, on: torch.device | str = "cpu") -> tuple[Mola, Checkpoint]:
    """The model with its weights, in evaluation mode, and what its checkpoint says.

    Raises:
        CheckpointError: not the checkpoint of a trained policy, or weights that do not fit the model of its recipe.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.stage != "policy":
        raise CheckpointError(f"{path} is from stage {checkpoint.stage!r}, which cannot act; run: mola train stage3")
    with torch.device(on):
        model = build_mola(checkpoint.recipe.model)
    put_weights(model, model_weights(checkpoint), where=str(path))
    model.eval().requires_grad_(False)
    return model, checkpoint


def model_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Those of the model itself, by its own names."""
    weights = read_weights(checkpoint)
    return {name.removeprefix(MODEL_PREFIX): value for name, value in weights.items() if name.startswith(MODEL_PREFIX)}


def put_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Load all of ``weights`` into all of ``module``. CheckpointError where :func:`require_fitting` raises it."""
    require_fitting(module, weights, where=where)
    module.load_state_dict(dict(weights))


def require_fitting(module: torch.nn.Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse ``weights`` that are not all of ``module``'s, which may be on torch's meta device.

    Raises:
        CheckpointError: a name is missing or left over, or a shape differs: another architecture.
    """
    own = module.state_dict()
    missing, left_over = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    differing = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or left_over or differing:
        parts = [f"{len(names)} {what} (first: {min(names)})" for what, names in (
            ("missing", missing), ("left over", left_over), ("of another shape", differing)) if names]  # fmt: skip
        raise CheckpointError(
            f"{where} is of another architecture than its model: {', '.join(parts)}; use the recipe it was made with"
        )


def _header(checkpoint: Checkpoint, *, digest: str) -> dict[str, Any]:
    normalization = checkpoint.normalization
    return {
        "format": FORMAT,
        "stage": checkpoint.stage,
        "step": checkpoint.step,
        "contract_hash": checkpoint.contract.hash,
        "digest": digest,
        "language_digest": checkpoint.language_digest,
        "metrics": dict(checkpoint.metrics),
        "git": dict(checkpoint.git),
        "normalization": None if normalization is None else normalization.model_dump(mode="json"),
        "recipe": checkpoint.recipe.model_dump(mode="json"),
    }


def _from_header(path: Path, said: Mapping[str, Any]) -> Checkpoint:
    normalization = said["normalization"]
    return Checkpoint(
        path=path,
        recipe=Recipe.model_validate(said["recipe"]),
        normalization=None if normalization is None else Normalization.model_validate(normalization),
        stage=said["stage"],
        step=said["step"],
        metrics=said["metrics"],
        git=said["git"],
        digest=said["digest"],
        language_digest=said.get("language_digest"),
    )


def _read_tensors(path: Path, *, on: torch.device | str = "cpu") -> dict[str, Tensor]:
    try:
        return load_file(path, device=str(on))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; fetch or copy it again") from error


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    _flush(path)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _flush(path)


def _flush(path: Path) -> None:
    """Onto the disk, so that a power cut cannot leave a name without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
