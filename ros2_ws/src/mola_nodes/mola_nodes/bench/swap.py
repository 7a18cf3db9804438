"""Hot swaps while the arm moves under policy, beside the same run without any.

The whole graph runs on the twin. First the policy acts for a while undisturbed; then two bundles take over from each other, again
and again. Reported side by side: servo ticks that missed their deadline, stops, the cadence of the policy's answers, the gap that
each swap left in it, and the memory of the processes that hold the engines before and after.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_nodes.bench.phases import KeptRun, PhaseFigures, Watch
    from mola_nodes.bundles.client import BundleClient
    from mola_nodes.demo.operator_client import OperatorClient

_INSTRUCTION = "press the button"
_SETTLE_S = 0.5
_ANSWER_S, _LOOK_S = 20.0, 0.005
_TRIES = 3
"""For each swap wanted: one during which the run ends by itself counts for nothing."""
_HOLDERS = ("imagination_node", "policy_node", "mola_process")


@dataclass(frozen=True, slots=True)
class SwapFigures:
    """What the bench found."""

    count: int
    without: "PhaseFigures"
    during: "PhaseFigures"
    gap_p50_ms: float
    """What a swap added to the usual interval between two answers."""
    gap_max_ms: float
    takeover_p50_ms: float
    """From the request to the first answer of the new bundle."""
    takeover_max_ms: float
    memory_before_mib: float
    """Resident, of the processes that hold engines, with both bundles loaded."""
    memory_after_mib: float
    endings: tuple[str, ...]
    """Why runs of the policy ended by themselves in between; each time the arm was brought home and it ran again."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench swap``."""
    parser = subparsers.add_parser("swap", help="hot swaps while the arm moves, beside the same run without")
    parser.add_argument("bundles", nargs=2, metavar="NAME/VERSION", help="the two that take over from each other")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--count", type=int, default=100, help="swaps (default: 100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="undisturbed run before them (default: 30)")
    parser.add_argument("--composed", action="store_true", help="imagination and policy in one process")
    parser.add_argument("--site", type=Path, default=None, help="site file of a twin (default: the shipped one)")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address of the twin (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Bring the graph up, measure, take it down; 0 when no chunk was refused and the graph was never too slow for the arm."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 - help must not pay for these

    if not 1 <= args.count <= 10_000 or not 1.0 <= args.seconds <= 3600.0:
        raise ConfigError(f"--count {args.count} must be 1..10000 and --seconds {args.seconds:g} 1..3600")
    figures = measure(args)
    if args.json:
        print_json(measurement_report("bench swap", {"result": figures}))
    else:
        _print_table(figures)
    return 0 if figures.during.late_stops == 0 and figures.during.refused == 0 else 1


def measure(args: argparse.Namespace) -> SwapFigures:
    """All of it; raises MolaError where the graph or a swap fails."""
    from mola_nodes.bench.phases import KeptRun, Watch  # noqa: PLC0415
    from mola_nodes.bundles.client import BundleClient  # noqa: PLC0415
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415

    first, second = args.bundles
    arguments = {
        "policy": "mola",
        "models": str(args.models.resolve()),
        "bundle": first,
        "composed": "true" if args.composed else "false",
    }
    if args.site is not None:
        arguments["site"] = str(args.site)
    log = Path("runs") / "bench_swap" / "graph.log"
    with RunningTwin(log_path=log, host=args.host, arguments=arguments) as twin:
        operator, watch = twin.operator, Watch()
        watch.open(operator)
        client = BundleClient(operator)
        client.wait_serving(first)
        client.load(second)
        kept = KeptRun(_INSTRUCTION, operator=operator, watch=watch, site=twin.site)
        try:
            return _phases(args, operator=operator, client=client, watch=watch, kept=kept)
        finally:
            kept.goal.abandon()


def _phases(
    args: argparse.Namespace,
    *,
    operator: "OperatorClient",
    client: "BundleClient",
    watch: "Watch",
    kept: "KeptRun",
) -> SwapFigures:
    from mola_nodes.bench.phases import mark, phase_since  # noqa: PLC0415

    begin = mark(operator, watch)
    kept.act(args.seconds)
    without = phase_since(operator, watch, begin)
    memory_before = _memory_mib()
    begin = mark(operator, watch)
    gaps: list[float] = []
    takeovers: list[float] = []
    for _ in range(_TRIES * args.count):
        kept.ensure()
        status = client.status
        new = next(name for name in args.bundles if status is None or name != status.active_bundle)
        if status is None or status.staged_bundle != new:
            client.load(new)
        took = _swap(client, watch, new, usual_ms=without.interval_p50_ms, kept=kept)
        if took is not None:
            takeovers.append(took[0])
            gaps.append(took[1])
        kept.act(_SETTLE_S)
        if len(gaps) == args.count:
            break
    else:
        raise MolaError(
            f"only {len(gaps)} of {args.count} swaps were not cut short by the end of a run; the last: {kept.endings[-1]}"
        )
    return SwapFigures(
        count=args.count,
        without=without,
        during=phase_since(operator, watch, begin),
        gap_p50_ms=statistics.median(gaps),
        gap_max_ms=max(gaps),
        takeover_p50_ms=statistics.median(takeovers),
        takeover_max_ms=max(takeovers),
        memory_before_mib=memory_before,
        memory_after_mib=_memory_mib(),
        endings=tuple(kept.endings),
    )


def _swap(
    client: "BundleClient", watch: "Watch", new: str, *, usual_ms: float, kept: "KeptRun"
) -> tuple[float, float] | None:
    """Promote and wait for the first answer of ``new``: how long that took, and what it added to the interval, ms.

    None where the run ended meanwhile for a reason of its own; the swap then counts for nothing.
    """
    asked = time.monotonic()
    client.promote(new)
    while watch.answers[-1][1] != new:
        if kept.goal.done:
            return None
        if time.monotonic() > asked + _ANSWER_S:
            raise MolaError(f"{new} serves and gives no answer")
        time.sleep(_LOOK_S)
    answers = list(watch.answers)
    index = next(i for i in range(len(answers) - 1, 0, -1) if answers[i - 1][1] != new)
    if answers[index - 1][2] != answers[index][2]:
        return None
    interval_ms = 1000.0 * (answers[index][0] - answers[index - 1][0])
    return 1000.0 * (answers[index][0] - asked), max(interval_ms - usual_ms, 0.0)


def _memory_mib() -> float:
    """Resident memory of the processes that hold engines."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
            if any(Path(word.decode(errors="replace")).name in _HOLDERS for word in words[:3]):
                pages = int((status.parent / "statm").read_text(encoding="ascii").split()[1])
                total += pages * 4096
        except (OSError, ValueError):  # it has just ended
            continue
    return total / (1 << 20)


def _print_table(figures: SwapFigures) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from mola_nodes.bench.phases import ROWS  # noqa: PLC0415

    table = Table("", "without swaps", "with swaps", title=f"{figures.count} hot swaps while the arm moves")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, told in ROWS.items():
        table.add_row(name, told(figures.without), told(figures.during))
    console = Console()
    console.print(table)
    console.print(
        f"gap in the cadence: p50 {figures.gap_p50_ms:.0f} ms, max {figures.gap_max_ms:.0f} ms; request to first answer: "
        f"p50 {figures.takeover_p50_ms:.0f} ms, max {figures.takeover_max_ms:.0f} ms; memory of the engines' processes: "
        f"{figures.memory_before_mib:.0f} MiB before, {figures.memory_after_mib:.0f} MiB after",
        soft_wrap=True,
    )
    for ending in figures.endings:
        console.print(f"a run ended, and another began: {ending}", soft_wrap=True)
