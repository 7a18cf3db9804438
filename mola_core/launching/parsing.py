"""From elements to the typed description: every element and attribute is known here, or it is an error."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mola_core.launching import parsing_processes as processes
from mola_core.launching.description import (
    Action,
    DeclareArgument,
    Description,
    Group,
    Include,
    Let,
    PushNamespace,
    SetEnvironment,
)
from mola_core.launching.errors import LaunchFileError
from mola_core.launching.reading import check, condition, flag, literal, required, text
from mola_core.launching.xml_tree import Element, parse_xml

_UNSUPPORTED_CONFIGURATIONS = frozenset(
    {
        "emulate_tty",
        "global_params",
        "launch-prefix",
        "launch-prefix-filter",
        "ros_remaps",
        "sigkill_timeout",
        "sigterm_timeout",
    }
)
"""Names through which ``ros2 launch`` takes settings that this runner does not have."""


def parse_launch_file(path: Path) -> Description:
    """Read the launch file at ``path``.

    Raises:
        ConfigError: it cannot be read.
        LaunchFileError: it holds an element, attribute or value that is not supported; names file, line and what is.
    """
    root = parse_xml(path)
    if root.tag != "launch":
        raise LaunchFileError(root.where, f"the root element must be <launch>, got <{root.tag}>")
    check(root, attributes=["version"], children=_PARSERS, conditional=False)
    return Description(path=path, actions=_actions(root.children))


def _actions(elements: Iterable[Element]) -> tuple[Action, ...]:
    return tuple(_PARSERS[element.tag](element) for element in elements)


def _declare_argument(element: Element) -> DeclareArgument:
    check(element, attributes=["name", "default", "description"], children=["choice"])
    for choice in element.children:
        check(choice, attributes=["value"], conditional=False)
    name = literal(element, "name")
    _refuse_reserved(element, name)
    return DeclareArgument(
        where=element.where,
        condition=condition(element),
        name=name,
        default=text(element, "default"),
        description=literal(element, "description", default=""),
        choices=tuple(literal(choice, "value") for choice in element.children),
    )


def _let(element: Element) -> Let:
    check(element, attributes=["name", "value"])
    _refuse_reserved(element, element.attributes.get("name", ""))
    return Let(
        where=element.where,
        condition=condition(element),
        name=required(element, "name"),
        value=required(element, "value"),
    )


def _group(element: Element) -> Group:
    check(element, attributes=["scoped"], children=_PARSERS)
    return Group(
        where=element.where,
        condition=condition(element),
        scoped=flag(element, "scoped", default=True),
        actions=_actions(element.children),
    )


def _include(element: Element) -> Include:
    check(element, attributes=["file"], children=["arg"])
    for argument in element.children:
        check(argument, attributes=["name", "value"], conditional=False)
    return Include(
        where=element.where,
        condition=condition(element),
        file=required(element, "file"),
        arguments=tuple((required(child, "name"), required(child, "value")) for child in element.children),
    )


def _push_namespace(element: Element) -> PushNamespace:
    check(element, attributes=["namespace"])
    return PushNamespace(where=element.where, condition=condition(element), namespace=required(element, "namespace"))


def _set_environment(element: Element) -> SetEnvironment:
    check(element, attributes=["name", "value"])
    return SetEnvironment(
        where=element.where,
        condition=condition(element),
        name=required(element, "name"),
        value=required(element, "value"),
    )


def _unset_environment(element: Element) -> SetEnvironment:
    check(element, attributes=["name"])
    return SetEnvironment(where=element.where, condition=condition(element), name=required(element, "name"), value=None)


def _refuse_reserved(element: Element, name: str) -> None:
    if name in _UNSUPPORTED_CONFIGURATIONS:
        raise LaunchFileError(
            element.where,
            f"{name!r} is a setting of ros2 launch that this runner does not have; choose another name",
        )


_PARSERS: dict[str, Callable[[Element], Action]] = {
    "arg": _declare_argument,
    "let": _let,
    "group": _group,
    "include": _include,
    "node": processes.parse_node,
    "executable": processes.parse_executable,
    "push_ros_namespace": _push_namespace,
    "push-ros-namespace": _push_namespace,
    "set_env": _set_environment,
    "unset_env": _unset_environment,
}
