"""``mola run "put the bottle in the bin"``: one instruction on a running graph."""

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Add ``mola run``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "run", help="let the policy of a running graph do something"
    )
    parser.add_argument("instruction", help="what is to be done, in words")
    parser.add_argument("--time-limit", type=float, default=60.0, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one document instead of a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run it; 0 when somebody called it done. Ctrl-C ends the run and brings the arm to rest."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 - help must not pay for ROS
    from mola_core.contracts.clock import NS_PER_S  # noqa: PLC0415
    from mola_core.contracts.errors import ConfigError  # noqa: PLC0415
    from mola_nodes.demo.operator_client import OperatorClient  # noqa: PLC0415
    from mola_nodes.environment import join_graph  # noqa: PLC0415

    if not 1.0 <= arguments.time_limit <= 3600.0:
        raise ConfigError(f"--time-limit {arguments.time_limit:g} must be within 1 .. 3600 s")
    join_graph()
    with OperatorClient(name="run_operator") as operator:
        goal = operator.run(arguments.instruction, time_limit_s=arguments.time_limit)
        try:
            result = goal.result()
        except KeyboardInterrupt:
            goal.cancel()
            result = goal.result()
    duration_s = result.duration.sec + result.duration.nanosec / NS_PER_S
    if arguments.json:
        figures = {
            "instruction": arguments.instruction,
            "success": result.success,
            "reason": result.reason,
            "duration_s": duration_s,
            "chunk_messages": result.chunks_sent,
        }
        print_json(measurement_report("run", figures))
    else:
        how = "done" if result.success else "ended"
        _say(f"{how}: {result.reason} after {duration_s:.1f} s, {result.chunks_sent} chunk messages")
    return 0 if result.success else 1


def _say(line: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - help stays fast

    Console(highlight=False).print(line, soft_wrap=True)
