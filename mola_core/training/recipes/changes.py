"""Deriving one frozen description from another, in code and from a command line."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from mola_core.contracts.errors import ConfigError
from mola_core.training.recipe import Recipe

_KIND = "kind"
"""The field that tells parts of different kinds from each other."""


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """``recipe`` with other values; a dictionary changes what it names inside a part and leaves the rest, a model replaces the part.

    A dictionary that names another ``kind`` replaces the part too: what the one kind was set to means nothing to the other.

    Raises:
        ConfigError: a name that does not exist, or values that do not go together.
    """
    try:
        return Recipe.model_validate(_merged(recipe.model_dump(), changes))
    except ValidationError as error:
        raise ConfigError(_said(error)) from error


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """``recipe`` with ``key=value`` pairs from a command line: dots lead inside, values are JSON or plain words.

    Raises:
        ConfigError: a pair without ``=``, a key that does not exist (with the nearest one that does), or a value that does not fit.
    """
    changes: dict[str, Any] = {}
    pairs = [_pair(setting) for setting in settings]
    replaced = [key.removesuffix(".kind") for key, value in pairs if _names_kind(key, value)]
    for key, value in pairs:
        if not any(key.startswith(f"{part}.") for part in replaced):  # what a part of another kind has its model knows
            _require_key(recipe, key)
        place = changes
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return changed(recipe, **changes) if changes else recipe


def _pair(setting: str) -> tuple[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"a setting is written key=value, got {setting!r}")
    return key, _value(value)


def _names_kind(key: str, value: Any) -> bool:
    """Whether a setting says of which kind its part is to be."""
    return key.endswith(".kind") or (isinstance(value, Mapping) and _KIND in value)


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in changes.items():
        if isinstance(value, BaseModel):
            merged[name] = value.model_dump()
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = dict(value) if _of_another_kind(merged[name], value) else _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


def _of_another_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return _KIND in old and _KIND in new and old[_KIND] != new[_KIND]


def _require_key(recipe: Recipe, key: str) -> None:
    place: Any = recipe.model_dump()
    known = _keys(place)
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"mola train recipes {recipe.name} shows them all"
        raise ConfigError(f"recipe {recipe.name} has no setting {key!r}; {hint}")


def _keys(place: Any, prefix: str = "") -> list[str]:
    if not isinstance(place, Mapping):
        return []
    found: list[str] = []
    for name, value in place.items():
        found += [f"{prefix}{name}", *_keys(value, f"{prefix}{name}.")]
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the recipe"
    rest = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{rest}"
