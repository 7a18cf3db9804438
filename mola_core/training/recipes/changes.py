"""Deriving one frozen description from another, in code and from a command line."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from mola_core.contracts.errors import ConfigError
from mola_core.training.recipe import Recipe


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """``recipe`` with other values; a dictionary changes what it names inside a part and leaves the rest, a model replaces the part.

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
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"a setting is written key=value, got {setting!r}")
        _require_key(recipe, key)
        place = changes
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _value(value)
    return changed(recipe, **changes) if changes else recipe


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in changes.items():
        if isinstance(value, BaseModel):
            merged[name] = value.model_dump()
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


def _require_key(recipe: Recipe, key: str) -> None:
    place: Any = recipe.model_dump()
    known = _keys(place)
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "mola train show lists the recipe's keys"
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
