"""A launch file as typed records, before anything in it is evaluated."""

from dataclasses import dataclass
from pathlib import Path

from mola_core.launching.context import Text
from mola_core.launching.errors import Location
from mola_core.launching.parameter_values import ValueSource


@dataclass(frozen=True, slots=True)
class Condition:
    """``if`` or, negated, ``unless``."""

    text: Text
    negated: bool


@dataclass(frozen=True, slots=True)
class Action:
    """What every element of a launch file has."""

    where: Location
    condition: Condition | None


@dataclass(frozen=True, slots=True)
class DeclareArgument(Action):
    """``<arg>``."""

    name: str
    default: Text | None
    description: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Let(Action):
    """``<let>``."""

    name: Text
    value: Text


@dataclass(frozen=True, slots=True)
class Group(Action):
    """``<group>``."""

    scoped: bool
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Include(Action):
    """``<include>``."""

    file: Text
    arguments: tuple[tuple[Text, Text], ...]


@dataclass(frozen=True, slots=True)
class PushNamespace(Action):
    """``<push_ros_namespace>``."""

    namespace: Text


@dataclass(frozen=True, slots=True)
class SetEnvironment(Action):
    """``<set_env>``, and without a value ``<unset_env>``."""

    name: Text
    value: Text | None


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """What ``<node>`` and ``<executable>`` share."""

    environment: tuple[tuple[Text, Text], ...]
    respawn: Text | None
    respawn_delay_s: float
    required: bool
    """``on_exit="shutdown"``."""
    prefix: Text | None
    cwd: Text | None


@dataclass(frozen=True, slots=True)
class Executable(Action):
    """``<executable>``; ``command`` is split into words already."""

    command: tuple[Text, ...]
    name: Text | None
    options: ProcessOptions


@dataclass(frozen=True, slots=True)
class ParameterFile:
    """``<param from="…"/>``."""

    path: Text


@dataclass(frozen=True, slots=True)
class ParameterValue:
    """``<param name="…" value="…"/>``."""

    name: Text
    value: ValueSource


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """``<param name="…">`` around further parameters, whose names it prefixes."""

    name: Text
    members: tuple["ParameterValue | ParameterGroup", ...]


Parameter = ParameterFile | ParameterValue | ParameterGroup


@dataclass(frozen=True, slots=True)
class Node(Action):
    """``<node>``; ``arguments`` and ``ros_arguments`` are split into words already."""

    package: Text
    executable: Text
    name: Text | None
    exec_name: Text | None
    namespace: Text | None
    arguments: tuple[Text, ...]
    ros_arguments: tuple[Text, ...]
    parameters: tuple[Parameter, ...]
    remappings: tuple[tuple[Text, Text], ...]
    options: ProcessOptions


@dataclass(frozen=True, slots=True)
class Description:
    """One launch file."""

    path: Path
    actions: tuple[Action, ...]
