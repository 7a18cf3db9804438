"""``mola teleop``: a person moves the arm, on a running graph or on one that is brought up for it."""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_interfaces.msg import TeleopStatus

    from mola_nodes.demo.operator_client import OperatorClient

_SITE = "sites/twin.yaml"
_LINE_S = 0.2
_NODE = "import sys; from mola_nodes.teleop_node import main; sys.exit(main())"
_LEAVE_S = 10.0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola teleop``."""
    parser = subparsers.add_parser("teleop", help="move the arm by SpaceMouse, gamepad, keyboard, leader arm or hand")
    parser.add_argument(
        "--device",
        default="spacemouse",
        help="spacemouse, gamepad, keyboard, freedrive, expert (twin), or a device file (default: spacemouse)",
    )
    parser.add_argument(
        "--up", choices=("twin", "rig"), help="bring the graph up first; without it one must be running"
    )
    parser.add_argument("--site", type=Path, help="site file (default: the twin's)")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address of the twin (default: 127.0.0.2)")
    parser.add_argument(
        "--engage", choices=("deadman", "clutch"), default="deadman", help="what the device's switch means"
    )
    parser.add_argument("--frame", choices=("base", "tool", "camera"), default="base", help="axes at the start")
    parser.add_argument("--view", default="third_person", help="camera of that frame (default: third_person)")
    parser.add_argument("--speed", type=float, default=1.0, help="0.1..1 of full deflection (default: 1)")
    parser.add_argument(
        "--stop-within-ms", type=float, default=150.0, help="from letting go to rest; bounds the speed (default: 150)"
    )
    parser.add_argument("--resume", action="store_true", help="your word that the arm may move: resume it at the start")
    parser.add_argument("--log", type=Path, default=Path("runs/teleop/graph.log"), help="log of what --up starts")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Until Ctrl-C or the end of the node."""
    site = _site(args)
    with ExitStack() as stack:
        operator = stack.enter_context(_graph(args, site))
        statuses: list[TeleopStatus] = []
        _watch(operator, statuses)
        if args.resume:
            operator.resume()
        node = stack.enter_context(_teleop_node(args, site))
        try:
            while node.poll() is None:
                time.sleep(_LINE_S)
                _print_line(statuses, operator)
        except KeyboardInterrupt:
            sys.stdout.write("\n")
    if node.returncode not in (0, -2, -15):
        raise MolaError("teleoperation ended; its message is above")
    return 0


def node_arguments(args: argparse.Namespace, site: Path) -> list[str]:
    """Parameters of the node, as ROS takes them on the command line."""
    values = {
        "site": site,
        "device": args.device,
        "engage": args.engage,
        "frame": args.frame,
        "view": args.view,
        "speed_scale": float(args.speed),
        "stop_within_ms": float(args.stop_within_ms),
        "world_host": args.host,
        "start_active": "true",
    }
    return [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]


def _site(args: argparse.Namespace) -> Path:
    if args.site is not None:
        return Path(args.site).resolve()
    if args.up == "rig":
        raise ConfigError("--up rig needs --site: addresses, serial numbers and limits have no default")
    from ament_index_python.packages import get_package_share_directory  # noqa: PLC0415 (keeps `mola --help` fast)

    return Path(get_package_share_directory("mola_bringup")) / _SITE


@contextmanager
def _graph(args: argparse.Namespace, site: Path) -> "Iterator[OperatorClient]":
    """An operator on the running graph, or on one that lives as long as the context."""
    from mola_nodes.demo.operator_client import OperatorClient  # noqa: PLC0415

    if args.up is None:
        with OperatorClient(name="teleop_terminal") as operator:
            operator.wait_for(
                lambda: operator.servo_status is not None,
                "the controller; start a graph (mola launch twin.launch.xml), or let --up twin do it",
                timeout_s=10.0,
            )
            yield operator
        return
    from mola_nodes.running_graph import RunningGraph  # noqa: PLC0415

    arguments = {"site": str(site), **({"host": args.host, "policy": "none"} if args.up == "twin" else {})}
    with RunningGraph(f"{args.up}.launch.xml", arguments=arguments, log_path=args.log) as running:
        yield running.operator


@contextmanager
def _teleop_node(args: argparse.Namespace, site: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The node in a process of its own; it inherits this terminal, which the keyboard needs."""
    command: Sequence[str] = [sys.executable, "-c", _NODE, "--ros-args", *node_arguments(args, site)]
    with subprocess.Popen(command) as node:
        try:
            yield node
        finally:
            node.terminate()
            try:
                node.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                node.kill()


def _watch(operator: "OperatorClient", statuses: "list[TeleopStatus]") -> None:
    from mola_nodes import graph  # noqa: PLC0415

    def keep(message: "TeleopStatus") -> None:
        statuses[:] = [message]

    operator.subscribe(graph.TELEOP_STATUS, keep)


def _print_line(statuses: "list[TeleopStatus]", operator: "OperatorClient") -> None:
    if not statuses:
        return
    status = statuses[-1]
    word = "ENGAGED" if status.engaged else "ready" if status.alive else "LOST"
    opening = f"{status.gripper_opening:.2f}" if status.has_gripper_opening else "?"
    parts = [
        f"{status.device}: {word}{' (takeover)' if status.takeover else ''}",
        f"frame {status.frame}",
        f"speed {status.speed_scale:.2f}, {100 * status.speed_share:.0f} % let through",
        f"gripper {opening}",
        status.reason or (operator.servo_status.reason if operator.servo_status is not None else ""),
    ]
    sys.stdout.write("\r\x1b[2K" + " · ".join(part for part in parts if part))
    sys.stdout.flush()
