"""Parts of a model that compute in full precision inside one that computes in less.

Runtimes build strongly typed networks, so the graph's own types are the precision of every layer.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mola_core.export.errors import ExportError


def narrow(model: nn.Module, dtype: torch.dtype, *, keep: Sequence[str] = ()) -> None:
    """Let ``model`` compute in ``dtype``, in place, and its submodules ``keep`` in full precision as before; those too that a module
    names as its ``wide`` parts, which feeds them accordingly itself.

    Raises:
        ExportError: no such part, or one inside another.
    """
    kept = {name: _part(model, name, keep=keep) for name in keep}
    wide = dict(_wide_parts(model)) | kept
    exact = {name: {key: value.clone() for key, value in part.state_dict().items()} for name, part in wide.items()}
    model.to(dtype)
    for name, part in wide.items():
        part.float().load_state_dict(exact[name])
    for part in kept.values():
        part.register_forward_pre_hook(partial(_widen, narrow=dtype), with_kwargs=True)
        part.register_forward_hook(partial(_narrow, narrow=dtype))


def _wide_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        for part in getattr(module, "wide", ()):
            yield f"{name}.{part}".lstrip("."), module.get_submodule(part)


def _part(model: nn.Module, name: str, *, keep: Sequence[str]) -> nn.Module:
    inside = [other for other in keep if name.startswith(f"{other}.")]
    if inside:
        raise ExportError(f"{name} is a part of {inside[0]}, which keeps full precision already; leave it out")
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = ", ".join(found for found, _ in model.named_children())
        raise ExportError(f"the model has no part {name!r}; its parts begin with {known}") from None


def _widen(
    _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], *, narrow: torch.dtype
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    widened: tuple[Any, ...] = _cast(given, narrow, torch.float32)
    return widened, _cast(named, narrow, torch.float32)


def _narrow(_module: nn.Module, _given: Any, out: Any, *, narrow: torch.dtype) -> Any:
    return _cast(out, torch.float32, narrow)


def _cast(value: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """All tensors of type ``old`` in ``value``, however they are packed."""
    if isinstance(value, Tensor):
        return value.to(new) if value.dtype == old else value
    if isinstance(value, dict):
        return {name: _cast(each, old, new) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_cast(each, old, new) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _cast(getattr(value, field.name), old, new) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
