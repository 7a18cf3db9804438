"""Reading one element: its attributes as text with substitutions, as literals, as flags; refusing what is left over."""

import math
import shlex
from collections.abc import Iterable

from mola_core.launching.context import Text
from mola_core.launching.description import Condition
from mola_core.launching.errors import LaunchFileError, nearest
from mola_core.launching.substitutions import Substitution, Template, TemplateSyntaxError, parse_template
from mola_core.launching.xml_tree import Element

_CONDITIONS = ("if", "unless")


def check(
    element: Element, *, attributes: Iterable[str], children: Iterable[str] = (), conditional: bool = True
) -> None:
    """Refuse attributes and children that ``element`` does not have."""
    known = {*attributes, *(_CONDITIONS if conditional else ())}
    for name in element.attributes:
        if name not in known:
            raise LaunchFileError(element.where, f"<{element.tag}> has no attribute {name!r}; {nearest(name, known)}")
    tags = set(children)
    for child in element.children:
        if child.tag not in tags:
            raise LaunchFileError(
                child.where, f"<{child.tag}> is not supported inside <{element.tag}>; {nearest(child.tag, tags)}"
            )


def condition(element: Element) -> Condition | None:
    """``if`` or ``unless``, not both."""
    if all(name in element.attributes for name in _CONDITIONS):
        raise LaunchFileError(element.where, f"<{element.tag}> cannot have both 'if' and 'unless'")
    for name in _CONDITIONS:
        value = text(element, name)
        if value is not None:
            return Condition(text=value, negated=name == "unless")
    return None


def text(element: Element, name: str) -> Text | None:
    """The attribute's value with its substitutions, or None where it is not given."""
    if name not in element.attributes:
        return None
    try:
        template = parse_template(element.attributes[name])
    except TemplateSyntaxError as error:
        raise LaunchFileError(element.where, f"attribute {name!r}: {error}") from error
    return Text(where=element.where, attribute=name, template=template, source=element.attributes[name])


def required(element: Element, name: str) -> Text:
    """The attribute's value, which must be given."""
    value = text(element, name)
    if value is None:
        raise LaunchFileError(element.where, f"<{element.tag}> needs the attribute {name!r}")
    return value


def literal(element: Element, name: str, *, default: str | None = None) -> str:
    """The attribute's value, in which ROS 2 allows no substitution; required unless ``default`` is given."""
    if default is not None and name not in element.attributes:
        return default
    value = required(element, name)
    if any(isinstance(part, Substitution) for part in value.template):
        raise value.error("substitutions are not allowed here")
    return "".join(part for part in value.template if isinstance(part, str))


def flag(element: Element, name: str, *, default: bool) -> bool:
    """A literal ``true`` or ``false``."""
    if name not in element.attributes:
        return default
    value = element.attributes[name].lower()
    if value not in {"true", "1", "false", "0"}:
        raise LaunchFileError(
            element.where, f"attribute {name!r} must be true or false, got {element.attributes[name]!r}"
        )
    return value in {"true", "1"}


def seconds(element: Element, name: str, *, default: float) -> float:
    """A literal, finite, non-negative number of seconds."""
    if name not in element.attributes:
        return default
    try:
        value = float(element.attributes[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise LaunchFileError(
            element.where, f"attribute {name!r} must be a number of seconds >= 0, got {element.attributes[name]!r}"
        )
    return value


def words(element: Element, name: str) -> tuple[Text, ...]:
    """A command line: split at spaces as a shell does, except that what is substituted is never split."""
    value = text(element, name)
    if value is None:
        return ()
    try:
        split = _split_words(value.template)
    except ValueError as error:  # shlex: quotation without end
        raise value.error(f"{error}; quotes may not surround a substitution") from error
    return tuple(Text(where=value.where, attribute=name, template=word) for word in split)


def _split_words(template: Template) -> list[Template]:
    """As upstream, down to its quirk: literal text that is empty or blank ends a word even where none has begun."""
    finished: list[Template] = []
    current: list[str | Substitution] = []

    def finish() -> None:
        finished.append(tuple(current))
        current.clear()

    for part in template or ("",):
        if isinstance(part, Substitution):
            current.append(part)
            continue
        tokens = shlex.split(part)
        if not tokens:
            finish()
            continue
        if part[0].isspace() and current:
            finish()
        for token in tokens[:-1]:
            current.append(token)
            finish()
        current.append(tokens[-1])
        if part[-1].isspace():
            finish()
    if current:
        finish()
    return finished
