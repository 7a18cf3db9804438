"""``mola record``: the recorder's screen and keys, on a running graph or on one that is brought up for it."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_nodes.demo.operator_client import OperatorClient
    from mola_nodes.record.keyboard import Keyboard
    from mola_nodes.record.terminal import Terminal

_DEFAULT_STORE = Path("runs") / "episodes"
_REFRESH_S = 0.1


def register(subparsers: Any) -> None:
    """Add ``mola record``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "record",
        help="record episodes: one screen with rates, disk and keys",
        description=(
            "Record episodes on a running graph (mola launch record.launch.xml) or on one that --up brings up: one screen "
            "with rates, latencies, camera health, disk and the keys. Everything also works by the service "
            "/mola/episode_control and by words on the topic /mola/episode_key."
        ),
    )
    parser.add_argument(
        "--up", choices=("twin", "rig"), help="bring the graph up first; without it one must be running"
    )
    parser.add_argument("--site", type=Path, help="site file, for --up (default: the twin's)")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address of the twin (default: %(default)s)")
    parser.add_argument(
        "--teleop", default="none", help="device, for --up: spacemouse, gamepad, freedrive, expert (twin), or a file"
    )
    parser.add_argument(
        "--policy", default="none", choices=("none", "scripted"), help="what else moves the arm, for --up twin"
    )
    parser.add_argument(
        "--store", type=Path, default=_DEFAULT_STORE, help="folder of the episodes, for --up (default: %(default)s)"
    )
    parser.add_argument("--operator", default="", metavar="NAME", help="who demonstrates")
    parser.add_argument("--instruction", default="", help="what is going to be done; key i changes it")
    parser.add_argument(
        "--log", type=Path, default=Path("runs/record/graph.log"), help="log of what --up starts (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Until q or Ctrl-C."""
    from mola_nodes.record.keyboard import Keyboard  # noqa: PLC0415 (keeps `mola --help` fast)
    from mola_nodes.record.terminal import Terminal  # noqa: PLC0415

    with ExitStack() as stack:
        keyboard = stack.enter_context(Keyboard())
        operator = stack.enter_context(_graph(arguments))
        terminal = Terminal(
            operator,
            store=str(arguments.store.absolute()) if arguments.up else "",
            instruction=arguments.instruction,
            operator_name=arguments.operator,
        )
        stack.callback(terminal.close)
        if arguments.up is None:
            operator.wait_for(
                lambda: terminal.status is not None,
                "the recorder; start one (mola launch record.launch.xml), or let --up twin do it",
                timeout_s=10.0,
            )
        with suppress(KeyboardInterrupt):
            _show(terminal, keyboard)
    return 0


def launch_arguments(arguments: argparse.Namespace) -> dict[str, str]:
    """What ``record.launch.xml`` is given.

    Raises:
        ConfigError: a rig without a site, or with a policy that only the twin has.
    """
    if arguments.up == "rig" and arguments.site is None:
        raise ConfigError("--up rig needs --site: addresses, serial numbers and limits have no default")
    if arguments.up == "rig" and arguments.policy != "none":
        raise ConfigError(f"--policy {arguments.policy} works in the twin only; it asks the twin where things are")
    values = {
        "world": arguments.up,
        "host": arguments.host,
        "teleop": arguments.teleop,
        "policy": arguments.policy,
        "store": str(arguments.store.absolute()),
        "operator": arguments.operator,
        "instruction": arguments.instruction,
    }
    return {**values, **({} if arguments.site is None else {"site": str(arguments.site.absolute())})}


@contextmanager
def _graph(arguments: argparse.Namespace) -> "Iterator[OperatorClient]":
    from mola_nodes.demo.operator_client import OperatorClient  # noqa: PLC0415

    if arguments.up is None:
        with OperatorClient(name="record_terminal") as operator:
            yield operator
        return
    from mola_nodes.running_graph import RunningGraph  # noqa: PLC0415

    sys.stdout.write(f"bringing up the {arguments.up} and its graph; what it prints goes to {arguments.log}\n")
    sys.stdout.flush()
    graph = RunningGraph("record.launch.xml", arguments=launch_arguments(arguments), log_path=arguments.log)
    with graph as running:
        yield running.operator


def _show(terminal: "Terminal", keyboard: "Keyboard") -> None:
    from rich.live import Live  # noqa: PLC0415

    from mola_nodes.record.screen import render  # noqa: PLC0415

    with Live(render(terminal.picture()), auto_refresh=False, screen=True) as live:
        while True:
            key = keyboard.key(timeout_s=_REFRESH_S)
            if key == "i":
                live.stop()
                terminal.set_instruction(keyboard.ask("what is going to be done? "))
                live.start()
            elif key and not terminal.press(key):
                return
            live.update(render(terminal.picture()), refresh=True)
