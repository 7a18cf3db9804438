"""``mola demo``: what ``make demo`` calls."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mola_nodes.demo.options import DemoOptions

_DEFAULT_OUT = Path("runs") / "demo"
_LONGEST_S = 3600.0


def register(subparsers: Any) -> None:
    """Add ``demo`` to the commands of ``mola``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="bring up twin and graph, do every task once, print a table, leave a video",
        description=(
            "Bring up the simulated rig and the whole ROS 2 graph, let MoLA do every task once in real time, hot-swap its bundle in "
            "the middle of the first, print what was measured, and leave a recording and a video of what the cameras saw beside what "
            "was imagined. Needs no robot, no GPU and no ROS installation."
        ),
    )
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task; may be repeated")
    parser.add_argument(
        "--policy",
        choices=("mola", "scripted"),
        default="mola",
        help="what acts: the learned policy, or the expert that sees the twin's truth (default: %(default)s)",
    )
    parser.add_argument(
        "--bundle",
        action="append",
        default=[],
        metavar="NAME/VERSION",
        help="of the learned policy; a second one takes over in the middle of the first task (the last two versions in the folder)",
    )
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=44,
        help="start positions (default: %(default)s, where the policy that ships does all tasks in lockstep, and 250 ms late)",
    )
    parser.add_argument("--host", default="127.0.0.2", help="loopback address for the twin (default: %(default)s)")
    parser.add_argument(
        "--fps",
        type=int,
        choices=(15, 30, 60),
        help="pictures a second of both cameras (the site's: 30; 15 where the machine does not keep up with that)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=600.0,
        metavar="S",
        help="for all of it; when it is over the demo ends, says what is missing, and fails (default: %(default)g)",
    )
    parser.add_argument(
        "--out", type=Path, default=_DEFAULT_OUT, metavar="DIR", help="where video and log go (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when every task was done and, where one was asked for, the hot swap happened."""
    from rich.console import Console  # noqa: PLC0415 - help must not pay for these

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415
    from mola_nodes.demo.run import run_demo  # noqa: PLC0415
    from mola_nodes.demo.table import print_demo  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    result = run_demo(options_of(arguments), say=lambda line: console.print(f"  {line}", soft_wrap=True))
    if arguments.json:
        print_json(measurement_report("demo", {"result": result, "succeeded": result.succeeded}))
    else:
        print_demo(result, console=Console())
    return 0 if result.succeeded else 1


def options_of(arguments: argparse.Namespace) -> "DemoOptions":
    """What the command line asks for.

    Raises:
        ConfigError: an unknown task, or a time limit in which nothing could be shown.
    """
    from mola_core.contracts.errors import ConfigError  # noqa: PLC0415
    from mola_nodes.demo.options import SHORTEST_S, DemoOptions, chosen_tasks  # noqa: PLC0415

    if not SHORTEST_S <= arguments.time_limit <= _LONGEST_S:
        raise ConfigError(f"--time-limit {arguments.time_limit:g} must be {SHORTEST_S:g}..{_LONGEST_S:g} s")
    return DemoOptions(
        out=arguments.out,
        tasks=chosen_tasks(arguments.task),
        seed=arguments.seed,
        host=arguments.host,
        fps=arguments.fps,
        policy=arguments.policy,
        models=arguments.models,
        bundles=tuple(arguments.bundle),
        time_limit_s=arguments.time_limit,
    )
