"""Hot swaps while the arm moves under policy, beside the same run without any.

The whole graph runs on the twin. First the policy acts for a while undisturbed; then two bundles take over from each other, again and
again. Before each swap the new bundle is tried and loaded, after it the old one is let go: every swap loads what is not in memory,
and the processes that hold the engines are looked at with one bundle loaded. Both phases stand side by side.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_nodes.bench.phases import Answer, KeptRun, PhaseFigures, Watch
    from mola_nodes.bench.swap_figures import Swap, SwapFigures
    from mola_nodes.bundles.client import BundleClient
    from mola_nodes.demo.operator_client import OperatorClient

_INSTRUCTION = "press the button"
_SETTLE_S = 0.5
_ANSWER_S, _LOOK_S = 20.0, 0.005
_TRIES = 3
"""For each swap wanted: one during which the run ends by itself counts for nothing."""
SAMPLE_EVERY = 10
"""Swaps."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench swap``."""
    parser = subparsers.add_parser("swap", help="hot swaps while the arm moves, beside the same run without")
    parser.add_argument("bundles", nargs=2, metavar="NAME/VERSION", help="the two that take over from each other")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--count", type=int, default=100, help="swaps (default: 100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="undisturbed run before them (default: 30)")
    parser.add_argument(
        "--late-tolerance",
        type=float,
        default=2.0,
        metavar="POINTS",
        help="missed where the share of late servo ticks with swaps is more percentage points above that without (default: 2)",
    )
    parser.add_argument(
        "--memory-tolerance",
        type=float,
        default=64.0,
        metavar="MIB",
        help="missed where the engines' processes hold more MiB after the last swap than before the first (default: 64)",
    )
    parser.add_argument("--composed", action="store_true", help="imagination and policy in one process")
    parser.add_argument("--site", type=Path, default=None, help="site file of a twin (default: the shipped one)")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address of the twin (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Bring the graph up, measure, take it down; 0 when everything held that must."""
    from rich.console import Console  # noqa: PLC0415 - help must not pay for these

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415
    from mola_nodes.bench.swap_figures import print_swaps  # noqa: PLC0415

    _check(args)
    figures = measure(args)
    if args.json:
        print_json(measurement_report("bench swap", {"result": figures, "passed": figures.passed}))
    else:
        print_swaps(figures, console=Console())
    return 0 if figures.passed else 1


def _check(args: argparse.Namespace) -> None:
    if not 1 <= args.count <= 10_000 or not 1.0 <= args.seconds <= 3600.0:
        raise ConfigError(f"--count {args.count} must be 1..10000 and --seconds {args.seconds:g} 1..3600")
    if not (args.late_tolerance >= 0.0 and args.memory_tolerance >= 0.0):
        raise ConfigError(
            f"--late-tolerance {args.late_tolerance:g} and --memory-tolerance {args.memory_tolerance:g} must not be negative"
        )
    if args.bundles[0] == args.bundles[1]:
        raise ConfigError(
            f"{args.bundles[0]} cannot take over from itself; name two different bundles of {args.models}"
        )


def measure(args: argparse.Namespace) -> "SwapFigures":
    """All of it; raises MolaError where the graph or a swap fails."""
    from mola_nodes.bench.phases import KeptRun, Watch  # noqa: PLC0415
    from mola_nodes.bundles.client import BundleClient  # noqa: PLC0415
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415

    first = args.bundles[0]
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
) -> "SwapFigures":
    from mola_nodes.bench.memory import sample_memory  # noqa: PLC0415
    from mola_nodes.bench.phases import mark, phase_since  # noqa: PLC0415
    from mola_nodes.bench.swap_figures import SwapFigures, Tolerances, verdicts_of  # noqa: PLC0415

    begin = mark(operator, watch)
    kept.act(args.seconds)
    without = phase_since(operator, watch, begin)
    memory = [sample_memory(0)]
    swaps: list[Swap] = []
    begin = mark(operator, watch)
    for tried in range(_TRIES * args.count):
        swap = _swap(client, watch, new=args.bundles[(tried + 1) % 2], without=without, kept=kept)
        kept.act(_SETTLE_S)
        if swap is not None:
            swaps.append(swap)
            if len(swaps) % SAMPLE_EVERY == 0 or len(swaps) == args.count:
                memory.append(sample_memory(len(swaps)))
        if len(swaps) == args.count:
            break
    else:
        raise MolaError(
            f"only {len(swaps)} of {args.count} swaps were not cut short by the end of a run; the last: {kept.endings[-1]}"
        )
    during = phase_since(operator, watch, begin)
    tolerances = Tolerances(late_points=args.late_tolerance, memory_mib=args.memory_tolerance)
    return SwapFigures(
        without=without,
        during=during,
        swaps=tuple(swaps),
        memory=tuple(memory),
        verdicts=verdicts_of(without, during, memory, tolerances),
        endings=tuple(kept.endings),
    )


def _swap(
    client: "BundleClient", watch: "Watch", *, new: str, without: "PhaseFigures", kept: "KeptRun"
) -> "Swap | None":
    """Load ``new``, let it take over, and let the old one go. None where the run ended meanwhile for a reason of its own."""
    from mola_nodes.bench.swap_figures import Swap  # noqa: PLC0415

    kept.ensure()
    asked_s = time.monotonic()
    client.load(new)
    load_ms = 1000.0 * (time.monotonic() - asked_s)
    kept.ensure()
    asked_s = time.monotonic()
    client.promote(new)
    answered = _wait_answer(watch, new, until_s=asked_s + _ANSWER_S, kept=kept)
    client.unload()
    status = client.status
    if status is not None and status.active_bundle != new:
        raise MolaError(f"{new} did not stay, {status.active_bundle or 'nothing'} serves: {status.reason}")
    found = takeover_of(watch.answers, new, asked_s=asked_s) if answered else None
    if found is None:
        return None
    takeover_ms, interval_ms = found
    return Swap(load_ms=load_ms, takeover_ms=takeover_ms, gap_ms=max(interval_ms - without.interval_p50_ms, 0.0))


def _wait_answer(watch: "Watch", new: str, *, until_s: float, kept: "KeptRun") -> bool:
    """Whether ``new`` has answered; not where the run has ended before."""
    while watch.answers[-1].bundle_id != new:
        if kept.goal.done:
            return False
        if time.monotonic() > until_s:
            raise MolaError(f"{new} serves and gives no answer; see the log of the graph")
        time.sleep(_LOOK_S)
    return True


def takeover_of(answers: "Sequence[Answer]", new: str, *, asked_s: float) -> tuple[float, float] | None:
    """The last change over to ``new``: request to first answer, and interval between the old one's last answer and that, ms.

    None where a run ended between those two answers, and the interval is no gap.
    """
    heard = list(answers)
    first = next(i for i in range(len(heard) - 1, 0, -1) if heard[i].bundle_id == new != heard[i - 1].bundle_id)
    before, after = heard[first - 1], heard[first]
    if before.run != after.run:
        return None
    return 1000.0 * (after.heard_s - asked_s), 1000.0 * (after.heard_s - before.heard_s)
