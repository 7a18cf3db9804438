"""The learned policy on the whole graph: how often it answers, how old the world is when the arm acts on it, and who computes.

Twin, cameras, imagination, policy and servo run in real time, as they would on a rig; the policy acts for a while, and what the graph
says of itself meanwhile is summed up.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_interfaces.msg import HalfStatus
    from rich.console import Console

    from mola_nodes.bench.phases import PhaseFigures
    from mola_nodes.demo.hops import HopFigures

_INSTRUCTION = "press the button"
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class HalfFigures:
    """Runs of one half of the policy, the last two hundred of them, ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class ActingFigures:
    """What the bench found."""

    bundle: str
    mode: str
    phase: "PhaseFigures"
    halves: "dict[str, HalfFigures]"
    """What imagination and actor took; how long both take together does not follow from it."""
    hops: "tuple[HopFigures, ...]"
    """The first is the whole path, camera to servo."""
    processor_percent: dict[str, float]
    """Of one core, by process of the graph."""
    endings: tuple[str, ...]
    """Why runs of the policy ended by themselves; each time the arm was brought home and it ran again."""

    @property
    def passed(self) -> bool:
        """The graph was never too slow for the arm."""
        return self.phase.late_stops == 0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench acting``."""
    parser = subparsers.add_parser(
        "acting", help="the learned policy on the whole graph: answers, latency by hop, load"
    )
    parser.add_argument("bundle", metavar="NAME/VERSION", help="what acts")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--mode", choices=("whole", "receding", "realtime"), default="realtime", help="(realtime)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--composed", action="store_true", help="imagination and policy in one process")
    parser.add_argument("--site", type=Path, default=None, help="site file of a twin (default: the shipped one)")
    parser.add_argument("--host", default="127.0.0.2", help="loopback address of the twin (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Bring the graph up, measure, take it down; 0 when the graph was never too slow for the arm."""
    from rich.console import Console  # noqa: PLC0415 - help must not pay for these

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415

    if not 2.0 <= args.seconds <= 3600.0:
        raise ConfigError(f"--seconds {args.seconds:g} must be 2..3600")
    figures = measure(args)
    if args.json:
        print_json(measurement_report("bench acting", {"result": figures, "passed": figures.passed}))
    else:
        print_acting(figures, console=Console())
    return 0 if figures.passed else 1


def measure(args: argparse.Namespace) -> ActingFigures:
    """All of it; raises MolaError where the graph or the run fails."""
    from mola_nodes import graph  # noqa: PLC0415
    from mola_nodes.bench.phases import KeptRun, Watch, mark, phase_since  # noqa: PLC0415
    from mola_nodes.bench.processes import load_percent, own_processes  # noqa: PLC0415
    from mola_nodes.bundles.client import BundleClient  # noqa: PLC0415
    from mola_nodes.demo.hops import hops_of  # noqa: PLC0415
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415

    arguments = {
        "policy": "mola",
        "models": str(args.models.resolve()),
        "bundle": args.bundle,
        "mode": args.mode,
        "composed": "true" if args.composed else "false",
    }
    if args.site is not None:
        arguments["site"] = str(args.site)
    log = Path("runs") / "bench_acting" / "graph.log"
    with RunningTwin(log_path=log, host=args.host, arguments=arguments) as twin:
        operator, watch = twin.operator, Watch()
        watch.open(operator)
        halves: dict[str, HalfStatus] = {}
        operator.subscribe(graph.HALF_STATUS, lambda message: halves.update({message.half: message}))
        BundleClient(operator).wait_serving(args.bundle)
        kept = KeptRun(_INSTRUCTION, operator=operator, watch=watch, site=twin.site)
        kept.act(_SETTLE_S)
        begin, num_reports = mark(operator, watch), len(operator.latency_reports)
        processes, begin_s = own_processes(), time.monotonic()
        kept.act(args.seconds)
        phase = phase_since(operator, watch, begin)
        load = load_percent(processes, own_processes(), seconds=time.monotonic() - begin_s)
        kept.goal.abandon()
        hops = hops_of(operator.latency_reports[num_reports:])
    if not hops:
        raise MolaError("nothing was heard on /mola/latency; see the log of the graph")
    return ActingFigures(
        bundle=args.bundle,
        mode=args.mode,
        phase=phase,
        halves=halves_of(halves),
        hops=hops,
        processor_percent=load,
        endings=tuple(kept.endings),
    )


def halves_of(statuses: "Mapping[str, HalfStatus]") -> dict[str, HalfFigures]:
    """What each half last said of its runs.

    Raises:
        MolaError: one of them has not run, or says nothing.
    """
    from mola_core.runtime.swap import HALVES  # noqa: PLC0415

    silent = [half for half in HALVES if half not in statuses or statuses[half].run_p50_ms < 0]
    if silent:
        raise MolaError(f"the {silent[0]} has told of no run; see the log of the graph")
    return {
        half: HalfFigures(statuses[half].run_p50_ms, statuses[half].run_p99_ms, statuses[half].run_max_ms)
        for half in HALVES
    }


def print_acting(figures: ActingFigures, *, console: "Console") -> None:
    """Print a table, why runs ended, and whether the graph was quick enough."""
    from rich.table import Table  # noqa: PLC0415

    from mola_nodes.bench.phases import ROWS  # noqa: PLC0415
    from mola_nodes.demo.hop_table import hop_table  # noqa: PLC0415

    table = Table("", "", title=f"{figures.bundle} on the whole graph, {figures.mode}", show_header=False)
    table.columns[1].justify = "right"
    for name, told in ROWS.items():
        table.add_row(name, told(figures.phase))
    for name, half in figures.halves.items():
        table.add_row(
            f"{name}, its last 200 runs, ms: p50 / p99 / max",
            f"{half.p50_ms:.0f} / {half.p99_ms:.0f} / {half.max_ms:.0f}",
        )
    load = figures.processor_percent
    table.add_row("processor, % of one core", f"{sum(load.values()):.0f}")
    for name, percent in load.items():
        if percent >= 1.0:
            table.add_row(f"  {name}", f"{percent:.0f}")
    console.print(table)
    console.print("", hop_table(figures.hops, title="latency by hop, ms"), "", sep="\n")
    for ending in figures.endings:
        console.print(f"a run ended, and another began: {ending}", markup=False, soft_wrap=True)
    stops = figures.phase.late_stops
    console.print(
        f"{'passed' if figures.passed else 'missed'}: {stops} stops because the graph was too slow; none is allowed"
    )
