"""The command lines of ``<node>`` and ``<executable>``, word for word those of ``ros2 launch``."""

import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from mola_core.contracts.errors import ConfigError
from mola_core.launching.context import LaunchContext, Text
from mola_core.launching.description import (
    Executable,
    Node,
    Parameter,
    ParameterFile,
    ParameterGroup,
    ParameterValue,
)
from mola_core.launching.errors import LaunchFileError
from mola_core.launching.names import node_name, node_namespace, qualified
from mola_core.launching.packages import package_executable
from mola_core.launching.parameter_values import Value
from mola_core.launching.plan import ParameterText, ProcessSpec

_ANY_NODE = "/**"


def executable_process(action: Executable, context: LaunchContext, *, number: int) -> ProcessSpec:
    """The process of an ``<executable>``, the ``number``-th of the plan."""
    words = _evaluate_all(action.command, context)
    label = None if action.name is None else action.name.evaluate(context)
    return _process(action, context, number=number, words=words, label=label, name=label)


def node_process(action: Node, context: LaunchContext, *, number: int) -> ProcessSpec:
    """The process of a ``<node>``, the ``number``-th of the plan."""
    name = None if action.name is None else node_name(action.name, context)
    words: list[str | ParameterText] = [_program(action, context), *_evaluate_all(action.arguments, context)]
    if action.ros_arguments:
        words += ["--ros-args", *_evaluate_all(action.ros_arguments, context)]
    words += _ros_words(action, context, name=name)
    label = None if action.exec_name is None else action.exec_name.evaluate(context)
    return _process(action, context, number=number, words=words, label=label, name=name or label)


def _process(
    action: Node | Executable,
    context: LaunchContext,
    *,
    number: int,
    words: Sequence[str | ParameterText],
    label: str | None,
    name: str | None,
) -> ProcessSpec:
    options = action.options
    prefix = [] if options.prefix is None else shlex.split(options.prefix.evaluate(context))
    argv = (*prefix, *words)
    environment = {**context.environment}
    for variable, value in options.environment:
        environment[variable.evaluate(context)] = value.evaluate(context)
    program = str(argv[0])
    if "/" not in program and shutil.which(program, path=environment.get("PATH", "")) is None:
        raise LaunchFileError(action.where, f"program {program!r} is not on PATH")
    basename = Path(program).name
    return ProcessSpec(
        name=name or label or basename,
        label=f"{basename if label is None else label}-{number}",
        where=action.where,
        argv=argv,
        environment=environment,
        cwd=None if options.cwd is None else Path(options.cwd.evaluate(context)),
        respawn=options.respawn is not None and _truth(options.respawn, context),
        respawn_delay_s=options.respawn_delay_s,
        required=options.required,
    )


def _program(action: Node, context: LaunchContext) -> str:
    package, executable = action.package.evaluate(context), action.executable.evaluate(context)
    try:
        return str(package_executable(package, executable, environment=context.environment))
    except ConfigError as error:
        raise LaunchFileError(action.where, str(error)) from error


def _ros_words(action: Node, context: LaunchContext, *, name: str | None) -> list[str | ParameterText]:
    namespace = node_namespace(action.namespace, context)
    target = _ANY_NODE if name is None or namespace is None else qualified(namespace, name)
    words: list[str | ParameterText] = ["--ros-args"]
    words += [] if name is None else ["-r", f"__node:={name}"]
    words += [] if namespace is None else ["-r", f"__ns:={namespace}"]
    for parameter in action.parameters:
        words += ["--params-file", _parameter_file(parameter, context, target=target)]
    for source, destination in action.remappings:
        words += ["-r", f"{source.evaluate(context)}:={destination.evaluate(context)}"]
    return words


def _parameter_file(parameter: Parameter, context: LaunchContext, *, target: str) -> str | ParameterText:
    """As upstream: every ``<param>`` is a parameter file of its own, so that later ones override earlier ones."""
    if isinstance(parameter, ParameterFile):
        path = parameter.path.evaluate(context)
        if not Path(path).is_file():
            raise parameter.path.error(f"parameter file {path} does not exist")
        return path
    values = dict(_flattened(parameter, context, prefix=""))
    return ParameterText(yaml.dump({target: {"ros__parameters": values}}, default_flow_style=False))


def _flattened(
    parameter: ParameterValue | ParameterGroup, context: LaunchContext, *, prefix: str
) -> Iterable[tuple[str, Value]]:
    name = prefix + parameter.name.evaluate(context)
    if isinstance(parameter, ParameterValue):
        yield name, parameter.value.evaluate(context)
        return
    for member in parameter.members:
        yield from _flattened(member, context, prefix=f"{name}.")


def _evaluate_all(words: Iterable[Text], context: LaunchContext) -> list[str]:
    return [word.evaluate(context) for word in words]


def _truth(text: Text, context: LaunchContext) -> bool:
    value = text.evaluate(context)
    truth = {"1": True, "0": False}.get(value)
    if truth is None:
        try:
            truth = yaml.safe_load(value)
        except yaml.YAMLError:
            truth = None
    if not isinstance(truth, bool):
        raise text.error(f"must be true or false, got {value!r}")
    return truth
