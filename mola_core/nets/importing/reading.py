"""Reading the published files without running anything that might be in them."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mola_core.nets.importing.plan import ImportRefusedError

_SETTINGS = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.InterpolationResultNode",
    "typing.Any",
)
"""Types of the training settings that the published action model carries beside its weights; they are read as empty shells."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from a safetensors file or from what ``torch.save`` wrote; under ``model`` where that is a level of its own.

    Raises:
        ImportRefusedError: not there, not readable as plain tensors, or none in it.
    """
    if not path.is_file():
        raise ImportRefusedError(f"{path} is not there; give the file that was published")
    try:
        content: dict[Any, Any] = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (OSError, SafetensorError, RuntimeError, UnpicklingError, EOFError) as error:
        raise ImportRefusedError(
            f"{path} cannot be read as plain tensors: {_reason(error)}; fetch it again, and if that does not help "
            "save its state dict as safetensors"
        ) from error
    inner = content.get("model")
    if isinstance(inner, Mapping):
        content = dict(inner)
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    strangers = sorted(str(name) for name in content.keys() - tensors.keys())
    if not tensors or strangers:
        what = f"has {strangers[0]!r}, which is no tensor" if strangers else "holds no tensors"
        raise ImportRefusedError(f"{path} {what}; give a file of weights")
    return tensors


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON file of settings.

    Raises:
        ImportRefusedError: not there, or no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImportRefusedError(f"{path} cannot be read: {error}; fetch it again") from error
    if not isinstance(content, dict):
        raise ImportRefusedError(f"{path} holds no settings; fetch it again")
    return content


def _unpickled(path: Path) -> dict[Any, Any]:
    shells = [(_shell(name), name) for name in _SETTINGS]
    harmless = [defaultdict, dict, list, tuple, int, float, str, bool, set]
    with torch.serialization.safe_globals([*shells, *harmless]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ImportRefusedError(f"{path} holds a {type(content).__name__}; give a file of weights")
    return content


def _shell(name: str) -> type:
    """A type that keeps what it is given and does nothing."""
    return type(name.rpartition(".")[2], (), {})


def read_diffusers(folder: Path) -> dict[str, Tensor]:
    """The weights that diffusers keeps in ``folder``, fp16 ones where there are no others.

    Raises:
        ImportRefusedError: none there.
    """
    stem = "diffusion_pytorch_model"
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors", f"{stem}.bin", f"{stem}.fp16.bin"):
        if (folder / name).is_file():
            return read_tensors(folder / name)
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_settings(index).get("weight_map", {}).values()))
        return {name: value for shard in shards for name, value in read_tensors(folder / shard).items()}
    raise ImportRefusedError(
        f"{folder} has no {stem}.safetensors; give the folder of the video model with unet and vae"
    )


def _reason(error: BaseException) -> str:
    """What torch says of its own refusal stands after this mark, behind advice that would switch the protection off."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].partition(" was not an allowed")[0]
