"""The types of ``<param value="…"/>``, by the rules of ROS 2's launch.

A value is read twice. Before substitution, by its declared type or as YAML, where a string may stand for anything because it may
still hold a substitution; after substitution what was substituted is read again, strictly. Lists must be uniform.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from mola_core.launching.context import LaunchContext, Text
from mola_core.launching.errors import LaunchFileError, Location
from mola_core.launching.substitutions import Substitution, TemplateSyntaxError, parse_template

Scalar = str | bool | int | float
Value = Scalar | list[Scalar]
_SCALARS = (str, bool, int, float)


@dataclass(frozen=True, slots=True)
class _Kind:
    scalar: type[Scalar] | None
    """None: whatever YAML makes of the text."""
    is_list: bool


_KINDS: dict[str, _Kind] = {
    "yaml": _Kind(None, False),
    **{scalar.__name__: _Kind(scalar, False) for scalar in (str, bool, int, float)},
    **{f"list_of_{scalar.__name__}": _Kind(scalar, True) for scalar in (str, bool, int, float)},
}


@dataclass(frozen=True, slots=True)
class ValueSource:
    """A parameter's value after its first reading: finished, or holding text with substitutions."""

    where: Location
    kind: _Kind
    content: "Scalar | Text | list[Scalar | Text]"

    def evaluate(self, context: LaunchContext) -> Value:
        """The finished value.

        Raises:
            LaunchFileError: what was substituted is not of the declared type, or makes a list of several types.
        """
        try:
            return self._evaluate(context)
        except ValueError as error:
            raise LaunchFileError(self.where, f"attribute 'value': {error}") from error

    def _evaluate(self, context: LaunchContext) -> Value:
        if not isinstance(self.content, list):
            return _substituted(self.content, kind=self.kind, context=context)
        item_kind = _Kind(self.kind.scalar, False)
        items: list[Any] = [_substituted(item, kind=item_kind, context=context) for item in self.content]
        if not _is_allowed(items, lenient=False) or not _all_of(items, self.kind.scalar):
            raise ValueError(f"the list {items!r} is not of one type" + (_of(self.kind) if self.kind.scalar else ""))
        return items


def read_value(text: str, *, separator: str | None, type_name: str | None, where: Location) -> ValueSource:
    """First reading of ``value``; ``separator`` (``value-sep``) makes it a list.

    Raises:
        LaunchFileError: unknown type, or a value that no substitution can turn into one of that type.
    """
    if type_name is not None and type_name not in _KINDS:
        raise LaunchFileError(where, f"attribute 'type': unknown type {type_name!r}; supported: {', '.join(_KINDS)}")
    kind = _KINDS[type_name or "yaml"]
    try:
        content = _convert(text, kind, lenient=True) if separator is None else _split(text, separator, kind)
        return ValueSource(where=where, kind=kind, content=_with_templates(content, kind=kind, where=where))
    except ValueError as error:
        raise LaunchFileError(where, f"attribute 'value': {error}") from error


def _split(text: str, separator: str, kind: _Kind) -> Value:
    if kind.scalar is not None and not kind.is_list:
        raise ValueError(f"value-sep makes a list, which is not{_of(kind)}")
    items = [_convert(item, _Kind(kind.scalar, False), lenient=True) for item in text.split(separator)]
    if not _is_allowed(items, lenient=True):
        raise ValueError(f"the list {items!r} is not of one type")
    return items  # type: ignore[return-value]  # _is_allowed refuses nested lists


def _with_templates(content: Value, *, kind: _Kind, where: Location) -> "Scalar | Text | list[Scalar | Text]":
    if not isinstance(content, list):
        finished = _template(content, where)
        if not isinstance(finished, Text) and not _is_of(finished, kind):
            raise ValueError(f"{finished!r} is not{_of(kind)}")
        return finished
    if not content and kind.scalar not in {None, str}:
        raise ValueError(f"an empty list is not{_of(kind)}; only list_of_str and yaml allow it")
    items = [_template(item, where) for item in content]
    if len({type(item) for item in items if not isinstance(item, Text)}) > 1:
        raise ValueError(f"the list {content!r} is not of one type")
    return items


def _template(value: Scalar, where: Location) -> Scalar | Text:
    """Strings that hold a substitution become text to evaluate; others lose their escapes."""
    if not isinstance(value, str):
        return value
    try:
        template = parse_template(value)
    except TemplateSyntaxError as error:
        raise ValueError(str(error)) from error
    if any(isinstance(part, Substitution) for part in template):
        return Text(where=where, attribute="value", template=template)
    return "".join(part for part in template if isinstance(part, str))


def _substituted(item: Scalar | Text, *, kind: _Kind, context: LaunchContext) -> Value:
    return _convert(item.evaluate(context), kind, lenient=False) if isinstance(item, Text) else item


def _convert(text: str, kind: _Kind, *, lenient: bool) -> Value:
    """``text`` as ``kind``; ``lenient`` keeps text that does not convert."""
    if kind.is_list:
        return _as_list(text, kind, lenient=lenient)
    if kind.scalar is None:
        return _as_yaml(text, lenient=lenient)
    return _CONVERSIONS[kind.scalar](text, lenient)


def _as_list(text: str, kind: _Kind, *, lenient: bool) -> Value:
    items = _as_yaml(text, lenient=lenient)
    allowed = (kind.scalar, str) if lenient else (kind.scalar,)
    if not isinstance(items, list) or not all(isinstance(item, allowed) for item in items):  # type: ignore[arg-type]
        raise ValueError(f"{text!r} is not{_of(kind)}")
    return items


def _as_yaml(text: str, *, lenient: bool) -> Value:
    if not text:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if lenient:
            return text
        raise ValueError(f'{text!r} is not YAML; a string with such characters needs type="str"') from error
    if not _is_allowed(value, lenient=lenient):
        raise ValueError(f"{text!r} is not a string, number, truth value or list of one of these")
    return value  # type: ignore[no-any-return]  # _is_allowed has looked


def _as_number(scalar: Callable[[str], int | float]) -> Callable[[str, bool], Scalar]:
    def convert(text: str, lenient: bool) -> Scalar:
        try:
            return scalar(text)
        except ValueError as error:
            if lenient:
                return text
            raise ValueError(f"{text!r} is not a number of the declared type") from error

    return convert


def _as_bool(text: str, lenient: bool) -> Scalar:
    value = _as_yaml({"1": "true", "0": "false"}.get(text, text), lenient=lenient)
    if isinstance(value, bool) or (lenient and isinstance(value, str)):
        return value
    raise ValueError(f"{text!r} is not of type bool")


_CONVERSIONS: dict[type[Scalar], Callable[[str, bool], Scalar]] = {
    str: lambda text, _: text,
    int: _as_number(int),
    float: _as_number(float),
    bool: _as_bool,
}


def _is_allowed(value: Any, *, lenient: bool) -> bool:
    if not isinstance(value, list):
        return isinstance(value, _SCALARS)
    kinds = [type(item) for item in value if type(item) is not str]
    member: Any = kinds[0] if kinds else str
    return member in _SCALARS and all(isinstance(item, (member, str) if lenient else member) for item in value)


def _is_of(value: Scalar, kind: _Kind) -> bool:
    return not kind.is_list and (kind.scalar is None or isinstance(value, kind.scalar))


def _all_of(items: list[Any], scalar: type[Scalar] | None) -> bool:
    return scalar is None or all(isinstance(item, scalar) for item in items)


def _of(kind: _Kind) -> str:
    name = next(name for name, candidate in _KINDS.items() if candidate == kind)
    return f" of type {name}"
