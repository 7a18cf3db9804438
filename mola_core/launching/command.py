"""``mola launch``: ``ros2 launch`` for machines that have no ROS 2 but the wheels."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mola_core.contracts.errors import ConfigError
from mola_core.launching.arguments import Declaration, signature
from mola_core.launching.context import LaunchContext
from mola_core.launching.description import Description
from mola_core.launching.errors import LaunchArgumentError, nearest
from mola_core.launching.expansion import expand, own_environment
from mola_core.launching.packages import package_share
from mola_core.launching.parsing import parse_launch_file
from mola_core.launching.plan import LaunchPlan, ProcessSpec
from mola_core.launching.supervision import Supervisor

DEFAULT_PACKAGE = "mola_bringup"
_PATTERN = "*.launch.xml"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def register(subparsers: Any) -> None:
    """Add ``launch`` to the commands of ``mola``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "launch",
        help="start the processes of a ROS 2 launch file and look after them",
        usage="mola launch [package] file [name:=value ...] [options]",
        description=(
            "Start the processes of a standard XML launch file, name those that die, start again those that respawn, and on "
            "Ctrl-C stop all in reverse order. A file is looked for in the share directory of its package."
        ),
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="word",
        help=f"[package] file [name:=value ...]; the package is {DEFAULT_PACKAGE} unless given; a path to a file will do",
    )
    parser.add_argument(
        "--show-args", action="store_true", help="print the arguments that the launch file takes, and stop"
    )
    parser.add_argument("--print", action="store_true", help="print the command lines of all processes, and stop")
    parser.add_argument("--pids", type=Path, metavar="FILE", help="keep FILE up to date: JSON, process name to id")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run ``mola launch``; its exit status.

    Raises:
        MolaError: wrong arguments, a wrong launch file, or a process that cannot be started.
    """
    path, given = interpret(arguments.words)
    if arguments.show_args:
        sys.stdout.write(shown_arguments(path))
        return 0
    plan = expand(path, given)
    if arguments.print:
        sys.stdout.write(shown_plan(plan))
        return 0
    return supervise(plan, pids_file=arguments.pids)


def supervise(plan: LaunchPlan, *, pids_file: Path | None = None) -> int:
    """Run ``plan`` until it ends or a signal stops it; the exit status. A second signal kills what is left."""
    with Supervisor(plan, pids_file=pids_file, stop_signals=_STOP_SIGNALS) as graph:
        graph.wait()
    return graph.exit_code


def interpret(words: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """Launch file and arguments of a command line.

    Raises:
        ConfigError: no such file or package, or a word that is none of package, file and ``name:=value``.
    """
    places = [word for word in words if ":=" not in word]
    given = dict(_argument(word) for word in words if ":=" in word)
    if len(places) == 1 and Path(places[0]).is_file():
        return Path(places[0]), given
    if len(places) not in {1, 2}:
        raise LaunchArgumentError(
            f"expected [package] file [name:=value ...], got {shlex.join(words)}; an argument is written name:=value"
        )
    package, name = places if len(places) == 2 else (DEFAULT_PACKAGE, places[0])
    return launch_file_of(package, name), given


def _argument(word: str) -> tuple[str, str]:
    name, _, value = word.partition(":=")
    if not name or not value:
        raise LaunchArgumentError(f"malformed argument {word!r}; write name:=value")
    return name, value


def launch_file_of(package: str, name: str) -> Path:
    """The launch file called ``name`` of ``package``.

    Raises:
        ConfigError: no such package or file.
    """
    share = package_share(package, environment=os.environ)
    deepest_first = sorted(share.rglob(_PATTERN), key=_depth, reverse=True)
    files = {path.name: path for path in deepest_first}  # of several with one name the highest stays
    if name not in files:
        raise ConfigError(f"package {package!r} has no launch file {name!r}; {nearest(name, files)}")
    return files[name]


def _depth(path: Path) -> int:
    return len(path.parts)


def shown_arguments(path: Path) -> str:
    """The arguments of the launch file at ``path``, for people."""
    description = parse_launch_file(path.absolute())
    declarations = _visible(description)
    lines = [f"Arguments of {path} (name:=value):"]
    for declaration in declarations:
        lines += ["", *_argument_lines(declaration)]
    return "\n".join(lines if declarations else [f"{path} takes no arguments."]) + "\n"


def _visible(description: Description) -> list[Declaration]:
    """Without those that an include has set already."""
    context = LaunchContext({}, dict(os.environ), description.path.parent)
    declarations = signature(description, context).declarations
    return [declaration for declaration in declarations if not declaration.passed]


def _argument_lines(declaration: Declaration) -> Iterable[str]:
    argument = declaration.argument
    yield f"  {argument.name}"
    if argument.description:
        yield f"      {argument.description}"
    if argument.choices:
        yield f"      one of: {', '.join(argument.choices)}"
    if argument.default is not None:
        yield f"      default: {argument.default.source or repr('')}"
    elif declaration.required:
        yield "      required"


def shown_plan(plan: LaunchPlan) -> str:
    """The processes of ``plan``, for people: commands as a shell takes them, and what of the environment differs from ours."""
    return "".join(_shown_process(process) for process in plan.processes)


def _shown_process(process: ProcessSpec) -> str:
    notes = [f"respawn after {process.respawn_delay_s:g} s"] if process.respawn else []
    notes += ["required"] if process.required else []
    own = own_environment()
    variables = [
        f"{name}={shlex.quote(value)}" for name, value in sorted(process.environment.items()) if own.get(name) != value
    ]
    title = ", ".join([process.label, *notes])
    command = " \\\n".join([*variables, process.shown()])
    return f"# {title}\n{command}\n\n"
