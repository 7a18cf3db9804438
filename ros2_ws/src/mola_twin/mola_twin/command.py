"""``mola twin``: the simulated rig from the command line."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from mola_twin.cell.command import register_render
from mola_twin.expert.command import register_expert


def register(subparsers: Any) -> None:
    """Add ``twin`` and its sub-commands."""
    parser = subparsers.add_parser("twin", help="the simulated rig: UR controller and cell")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_commands(commands)
    register_expert(commands)
    register_render(commands)


def _add_serve(commands: Any) -> None:
    parser = commands.add_parser("serve", help="serve controller, gripper, cameras and world until interrupted")
    parser.add_argument("--host", default="127.0.0.2", help="address to serve on; one twin an address (127.0.0.2)")
    parser.add_argument("--run-dir", type=Path, help="directory of the shared records (/dev/shm/mola-twin-HOST)")
    parser.add_argument("--no-cell", action="store_true", help="the controller alone: no cameras, nothing to touch")
    parser.add_argument("--no-render", action="store_true", help="cell without cameras")
    parser.add_argument("--allow-remote", action="store_true", help="serve on an address that other machines reach")
    parser.add_argument(
        "--realtime-priority",
        type=int,
        default=0,
        choices=range(91),
        metavar="0..90",
        help="SCHED_FIFO of the controller",
    )
    parser.add_argument("--verbose", action="store_true", help="log clients, programs and stops as they come and go")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from mola_twin.serve import ServeOptions, serve  # noqa: PLC0415  # help stays fast

    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="twin: %(message)s")
    options = ServeOptions(
        host=arguments.host,
        run_dir=arguments.run_dir,
        cell=not arguments.no_cell,
        render=not arguments.no_render,
        allow_remote=arguments.allow_remote,
        realtime_priority=arguments.realtime_priority,
        verbose=arguments.verbose,
    )
    return serve(options, announce=lambda line: print(line, flush=True))  # noqa: T201


def _add_commands(commands: Any) -> None:
    parser = commands.add_parser(
        "commands", help="which of ur_rtde's commands, RTDE outputs and faults the twin serves"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_commands)


def _commands(arguments: argparse.Namespace) -> int:
    from mola_twin.coverage import coverage, print_coverage  # noqa: PLC0415  # help stays fast

    if arguments.json:
        print(json.dumps(coverage(), indent=2))  # noqa: T201
    else:
        print_coverage()
    return 0
