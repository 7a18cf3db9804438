"""``mola faults``: one table of what every fault does to the moving arm."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_nodes.faults.run import FaultResult


def register(subparsers: Any) -> None:
    """Add ``faults`` to the commands of ``mola``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "faults",
        help="kill, drop and stop everything in turn while the arm moves; print what the arm did",
        description=(
            "Bring up the twin and the graph, break one thing at a time while the arm moves under policy, and measure on "
            "the controller's own record how soon it brakes, that it stays at rest until resumed, and that it recovers."
        ),
    )
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address for the twin (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "faults", metavar="DIR", help="where the log goes")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the table; 0 when every case passed."""
    from rich.console import Console  # noqa: PLC0415 - help must not pay for these

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415
    from mola_nodes.faults.cases import CASES  # noqa: PLC0415
    from mola_nodes.faults.run import run_faults  # noqa: PLC0415
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415

    by_name = {case.name: case for case in CASES}
    if arguments.list:
        Console().print("\n".join(by_name))
        return 0
    unknown = [name for name in arguments.case if name not in by_name]
    if unknown:
        raise ConfigError(f"there is no case {unknown[0]!r}; the cases are {', '.join(by_name)}")
    console = Console(stderr=True, highlight=False)
    with RunningTwin(log_path=arguments.out / "graph.log", host=arguments.host) as twin:
        twin.operator.resume()
        results = run_faults(
            [by_name[name] for name in arguments.case] or CASES,
            twin=twin,
            say=lambda line: console.print(f"  {line}", soft_wrap=True),
        )
    if arguments.json:
        print_json(measurement_report("faults", {"cases": results}))
    else:
        _print_table(results)
    return 0 if all(result.passed for result in results) else 1


def _print_table(results: "Sequence[FaultResult]") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="Faults while the arm moves")
    table.add_column("fault", no_wrap=True)
    for name in (
        "limit\nms",
        "brakes\nms",
        "arm slows\nms",
        "at rest\nms",
        "speed\nrad/s",
        "moved after\nmrad",
        "back after\ns",
    ):
        table.add_column(name, justify="right")
    table.add_column("")
    for result in results:
        table.add_row(
            result.name,
            f"{result.limit_ms:.0f}",
            "-" if result.reaction_ms is None else f"{result.reaction_ms:.0f}",
            f"{result.arm_slows_ms:.0f}",
            f"{result.rest_ms:.0f}",
            f"{result.speed_at_fault:.2f}",
            f"{1e3 * result.moved_after_rest:.2f}",
            "-" if result.recovered_s is None else f"{result.recovered_s:.1f}",
            "ok" if result.passed else "FAILED",
        )
    console = Console()
    console.print(table)
    for result in results:
        console.print(f"{result.name}: {result.how} {result.problem}".rstrip(), soft_wrap=True, highlight=False)
