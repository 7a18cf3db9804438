"""Executing a launch file's elements in order, down to a plan of processes. Nothing is started."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mola_core.launching.arguments import signature
from mola_core.launching.context import LaunchContext
from mola_core.launching.description import (
    Action,
    Condition,
    DeclareArgument,
    Description,
    Executable,
    Group,
    Include,
    Let,
    Node,
    PushNamespace,
    SetEnvironment,
)
from mola_core.launching.errors import LaunchArgumentError
from mola_core.launching.expansion_processes import executable_process, node_process
from mola_core.launching.loading import included_description
from mola_core.launching.names import NAMESPACE, pushed_namespace
from mola_core.launching.parsing import parse_launch_file
from mola_core.launching.plan import LaunchPlan, ProcessSpec


def expand(path: Path, arguments: Mapping[str, str], *, environment: Mapping[str, str] | None = None) -> LaunchPlan:
    """The processes that the launch file at ``path`` starts when given ``arguments``.

    Args:
        path: an XML launch file.
        arguments: the values of its ``<arg>`` elements, by name.
        environment: what processes inherit and ``$(env)`` and package look-ups read; :func:`own_environment` by default.

    Raises:
        ConfigError: the file cannot be read, holds something unsupported, or lacks, does not know or refuses an argument.
    """
    description = parse_launch_file(path.absolute())
    context = LaunchContext(
        configurations=dict(arguments),
        environment=dict(own_environment() if environment is None else environment),
        directory=description.path.parent,
    )
    signature(description, context).check(description, arguments)
    expander = _Expander(context)
    expander.execute_all(description.actions)
    return LaunchPlan(_with_unique_names(expander.processes))


def own_environment() -> dict[str, str]:
    """What this process inherited; the programs beside its interpreter (``mola``) are found without activating anything."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    beside = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join(path if beside in path else [*path, beside])}


def _with_unique_names(processes: list[ProcessSpec]) -> tuple[ProcessSpec, ...]:
    names = [process.name for process in processes]
    return tuple(
        replace(process, name=process.label) if names.count(process.name) > 1 else process for process in processes
    )


class _Expander:
    def __init__(self, context: LaunchContext) -> None:
        self._context = context
        self.processes: list[ProcessSpec] = []

    def execute_all(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action.condition is None or _holds(action.condition, self._context):
                _RULES[type(action)](self, action)

    def declare_argument(self, action: DeclareArgument) -> None:
        configurations = self._context.configurations
        if action.name not in configurations:
            if action.default is None:
                raise LaunchArgumentError(
                    f"{action.where}: missing argument {action.name!r}; give {action.name}:=<value>"
                )
            configurations[action.name] = action.default.evaluate(self._context)
        if action.choices and configurations[action.name] not in action.choices:
            raise LaunchArgumentError(
                f"{action.where}: argument {action.name!r} must be one of {', '.join(action.choices)}; "
                f"got {configurations[action.name]!r}"
            )

    def let(self, action: Let) -> None:
        self._context.configurations[action.name.evaluate(self._context)] = action.value.evaluate(self._context)

    def group(self, action: Group) -> None:
        scope = self._context.scope()
        self.execute_all(action.actions)
        if action.scoped:
            self._context.restore(scope)

    def include(self, action: Include) -> None:
        description = included_description(action, self._context)
        self._assign_included_arguments(action, description)
        self._context.directory = description.path.parent
        self.execute_all(description.actions)
        self._context.directory = None

    def _assign_included_arguments(self, action: Include, description: Description) -> None:
        """Set what the include gives. As in ROS 2 it stays set for all that follows, unless a group ends."""
        self._context.directory = None
        given = []
        for name, value in action.arguments:
            given.append(name.evaluate(self._context))
            self._context.configurations[given[-1]] = value.evaluate(self._context)
        try:
            signature(description, self._context).check(description, given)
        except LaunchArgumentError as error:
            raise LaunchArgumentError(f"{action.where}: {error}") from error

    def push_namespace(self, action: PushNamespace) -> None:
        before = self._context.configurations.get(NAMESPACE)
        namespace = pushed_namespace(before, action.namespace, self._context)
        self._context.configurations[NAMESPACE] = namespace

    def set_environment(self, action: SetEnvironment) -> None:
        name = action.name.evaluate(self._context)
        if action.value is None:
            self._context.environment.pop(name, None)
        else:
            self._context.environment[name] = action.value.evaluate(self._context)

    def node(self, action: Node) -> None:
        self.processes.append(node_process(action, self._context, number=len(self.processes) + 1))

    def executable(self, action: Executable) -> None:
        self.processes.append(executable_process(action, self._context, number=len(self.processes) + 1))


_RULES: dict[type[Action], Callable[[_Expander, Any], None]] = {
    DeclareArgument: _Expander.declare_argument,
    Let: _Expander.let,
    Group: _Expander.group,
    Include: _Expander.include,
    PushNamespace: _Expander.push_namespace,
    SetEnvironment: _Expander.set_environment,
    Node: _Expander.node,
    Executable: _Expander.executable,
}


def _holds(condition: Condition, context: LaunchContext) -> bool:
    value = condition.text.evaluate(context).strip().lower()
    if value not in {"true", "1", "false", "0"}:
        raise condition.text.error(f"must be true, 1, false or 0, got {value!r}")
    return (value in {"true", "1"}) != condition.negated
