"""The elements that start processes: ``<node>`` and ``<executable>``."""

from mola_core.launching.context import Text
from mola_core.launching.description import (
    Executable,
    Node,
    Parameter,
    ParameterFile,
    ParameterGroup,
    ParameterValue,
    ProcessOptions,
)
from mola_core.launching.errors import LaunchFileError
from mola_core.launching.parameter_values import read_value
from mola_core.launching.reading import check, condition, flag, required, seconds, text, words
from mola_core.launching.xml_tree import Element

_SHARED = ["respawn", "respawn_delay", "on_exit", "launch-prefix", "cwd", "output"]
_NODE = ["pkg", "exec", "name", "exec_name", "namespace", "args", "ros_args"]
_OUTPUTS = ("screen", "log", "both")


def parse_executable(element: Element) -> Executable:
    """``<executable>``."""
    check(element, attributes=["cmd", "name", "shell", *_SHARED], children=["env"])
    if flag(element, "shell", default=False):
        raise LaunchFileError(element.where, 'shell="true" is not supported; give the program and its arguments')
    required(element, "cmd")
    return Executable(
        where=element.where,
        condition=condition(element),
        command=words(element, "cmd"),
        name=text(element, "name"),
        options=_options(element),
    )


def parse_node(element: Element) -> Node:
    """``<node>``."""
    check(element, attributes=[*_NODE, *_SHARED], children=["param", "remap", "env"])
    return Node(
        where=element.where,
        condition=condition(element),
        package=required(element, "pkg"),
        executable=required(element, "exec"),
        name=text(element, "name"),
        exec_name=text(element, "exec_name"),
        namespace=text(element, "namespace"),
        arguments=words(element, "args"),
        ros_arguments=words(element, "ros_args"),
        parameters=tuple(_parameter(child) for child in element.children if child.tag == "param"),
        remappings=_pairs(element, tag="remap", names=("from", "to")),
        options=_options(element),
    )


def _options(element: Element) -> ProcessOptions:
    _one_of(element, "on_exit", ("shutdown",))
    _one_of(element, "output", _OUTPUTS)  # checked only: there is no log file here, all output goes to the screen
    return ProcessOptions(
        environment=_pairs(element, tag="env", names=("name", "value")),
        respawn=text(element, "respawn"),
        respawn_delay_s=seconds(element, "respawn_delay", default=0.0),
        required="on_exit" in element.attributes,
        prefix=text(element, "launch-prefix"),
        cwd=text(element, "cwd"),
    )


def _one_of(element: Element, name: str, allowed: tuple[str, ...]) -> None:
    value = element.attributes.get(name)
    if value is not None and value not in allowed:
        raise LaunchFileError(element.where, f"attribute {name!r} must be {' or '.join(allowed)}, got {value!r}")


def _pairs(element: Element, *, tag: str, names: tuple[str, str]) -> tuple[tuple[Text, Text], ...]:
    children = [child for child in element.children if child.tag == tag]
    for child in children:
        check(child, attributes=names, conditional=False)
    return tuple((required(child, names[0]), required(child, names[1])) for child in children)


def _parameter(element: Element) -> Parameter:
    if "from" not in element.attributes:
        return _named_parameter(element)
    check(element, attributes=["from"], conditional=False)
    return ParameterFile(path=required(element, "from"))


def _named_parameter(element: Element) -> ParameterValue | ParameterGroup:
    check(element, attributes=["name", "value", "value-sep", "type"], children=["param"], conditional=False)
    name = required(element, "name")
    given = [attribute for attribute in ("value", "value-sep", "type") if attribute in element.attributes]
    if element.children:
        if given:
            raise LaunchFileError(element.where, f"<param> has {given[0]!r} and nested parameters; give one of them")
        return ParameterGroup(name=name, members=tuple(_named_parameter(child) for child in element.children))
    if "value" not in element.attributes:
        raise LaunchFileError(element.where, "<param> needs one of 'value', 'from' and nested <param>")
    value = read_value(
        element.attributes["value"],
        separator=element.attributes.get("value-sep"),
        type_name=element.attributes.get("type"),
        where=element.where,
    )
    return ParameterValue(name=name, value=value)
