"""``mola engine list | load | promote | rollback | unload``: the bundles of a running graph."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mola_nodes.bundles.client import BundleClient


def register_list(subparsers: Any) -> None:
    """Add ``mola engine list``."""
    parser = _parser(subparsers, "list", _list, help_="bundles of the running graph, and which one serves")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")


def register_load(subparsers: Any) -> None:
    """Add ``mola engine load``."""
    parser = _parser(subparsers, "load", _load, help_="try a bundle and load it beside the one in service")
    parser.add_argument("bundle", metavar="NAME/VERSION")


def register_promote(subparsers: Any) -> None:
    """Add ``mola engine promote``."""
    parser = _parser(subparsers, "promote", _promote, help_="let the staged bundle take over at the next chunk")
    parser.add_argument("bundle", metavar="NAME/VERSION")


def register_rollback(subparsers: Any) -> None:
    """Add ``mola engine rollback``."""
    parser = _parser(subparsers, "rollback", _rollback, help_="bring back the bundle that served before")
    parser.add_argument("--reason", default="", help="for the log")


def register_unload(subparsers: Any) -> None:
    """Add ``mola engine unload``."""
    _parser(subparsers, "unload", _unload, help_="let go of every bundle that does not serve, to have its memory back")


def _parser(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], *, help_: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=help_)
    parser.set_defaults(run=run)
    return parser


@contextmanager
def _client() -> Iterator["BundleClient"]:
    from mola_nodes.bundles.client import BundleClient  # noqa: PLC0415 - help must not pay for ROS
    from mola_nodes.demo.operator_client import OperatorClient  # noqa: PLC0415
    from mola_nodes.environment import join_graph  # noqa: PLC0415

    join_graph()
    with OperatorClient(name="engine_operator") as operator:
        yield BundleClient(operator)


def _list(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415

    with _client() as client:
        bundles = client.bundles()
    if arguments.json:
        print_json(measurement_report("engine list", {"bundles": bundles}))
        return 0
    table = Table("bundle", "engines", "state")
    for bundle in bundles:
        table.add_row(
            bundle.bundle_id, bundle.runtimes, "serves" if bundle.active else bundle.problem or "can be loaded"
        )
    Console().print(table)
    return 0


def _load(arguments: argparse.Namespace) -> int:
    with _client() as client:
        client.load(arguments.bundle)
    _say(f"{arguments.bundle} is warm and runs in the shadow; let it serve: mola engine promote {arguments.bundle}")
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    with _client() as client:
        client.promote(arguments.bundle)
    _say(f"{arguments.bundle} serves")
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    with _client() as client:
        bundle_id = client.rollback(arguments.reason)
    _say(f"{bundle_id} serves again")
    return 0


def _unload(_arguments: argparse.Namespace) -> int:
    with _client() as client:
        released = client.unload()
    _say(f"let go of {', '.join(released)}" if released else "nothing is loaded beside what serves")
    return 0


def _say(line: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - help stays fast

    Console(highlight=False).print(line, soft_wrap=True)
