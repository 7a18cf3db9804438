"""The learned policy on the whole graph: how often it answers, how old the world is when the arm acts on it, and who computes.

Twin, cameras, imagination, policy and servo run in real time, as they would on a rig; the policy acts for a while, and what the graph
says of itself meanwhile is summed up.
"""

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_interfaces.msg import LatencyReport

    from mola_nodes.bench.phases import PhaseFigures

_INSTRUCTION = "press the button"
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class HopFigures:
    """One passage of a message, over the windows of a second in which it was counted."""

    p50_ms: float
    """Median window's."""
    p99_ms: float
    """Median window's."""
    max_ms: float


@dataclass(frozen=True, slots=True)
class ActingFigures:
    """What the bench found."""

    bundle: str
    mode: str
    phase: "PhaseFigures"
    inference_p50_ms: float
    """Imagination and actor together, over their last runs."""
    inference_p99_ms: float
    inference_max_ms: float
    hops: dict[str, HopFigures]
    """The first is the whole path, camera to servo."""
    processor_percent: dict[str, float]
    """Of one core, by process of the graph."""
    endings: tuple[str, ...]
    """Why runs of the policy ended by themselves; each time the arm was brought home and it ran again."""


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
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 - help must not pay for these

    if not 2.0 <= args.seconds <= 3600.0:
        raise ConfigError(f"--seconds {args.seconds:g} must be 2..3600")
    figures = measure(args)
    if args.json:
        print_json(measurement_report("bench acting", {"result": figures}))
    else:
        _print(figures)
    return 0 if figures.phase.late_stops == 0 else 1


def measure(args: argparse.Namespace) -> ActingFigures:
    """All of it; raises MolaError where the graph or the run fails."""
    from mola_nodes.bench.phases import KeptRun, Watch, mark, phase_since  # noqa: PLC0415
    from mola_nodes.bundles.client import BundleClient  # noqa: PLC0415
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
        client = BundleClient(operator)
        client.wait_serving(args.bundle)
        kept = KeptRun(_INSTRUCTION, operator=operator, watch=watch, site=twin.site)
        kept.act(_SETTLE_S)
        begin, reports, used = mark(operator, watch), len(operator.latency_reports), _processor_seconds()
        begin_s = time.monotonic()
        kept.act(args.seconds)
        phase = phase_since(operator, watch, begin)
        load = _load(used, seconds=time.monotonic() - begin_s)
        kept.goal.abandon()
        status = client.status
        hops = _hops(operator.latency_reports[reports:])
    if status is None:
        raise MolaError("the bundle manager says nothing")
    return ActingFigures(
        bundle=args.bundle,
        mode=args.mode,
        phase=phase,
        inference_p50_ms=float(status.inference_p50_ms),
        inference_p99_ms=float(status.inference_p99_ms),
        inference_max_ms=float(status.inference_max_ms),
        hops=hops,
        processor_percent=load,
        endings=tuple(kept.endings),
    )


def _hops(reports: "Sequence[LatencyReport]") -> dict[str, HopFigures]:
    from mola_core.contracts.quantiles import quantiles  # noqa: PLC0415

    found = {hop.name: hop for report in reports for hop in report.hops if hop.count}
    if not found:
        raise MolaError("nothing was heard on /mola/latency")
    windows = {
        name: [hop for report in reports for hop in report.hops if hop.name == name and hop.count] for name in found
    }
    return {
        name: HopFigures(
            p50_ms=quantiles((hop.p50_ms for hop in hops), 0.5)[0],
            p99_ms=quantiles((hop.p99_ms for hop in hops), 0.5)[0],
            max_ms=max(hop.max_ms for hop in hops),
        )
        for name, hops in windows.items()
    }


def _processor_seconds() -> dict[tuple[int, str], float]:
    """Used so far by this process and all that descend from it, by process id and name."""
    parents, names, used = {}, {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        pid = int(path.name)
        parents[pid], names[pid] = int(fields[1]), _name_of(words)
        used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return {(pid, names[pid]): used[pid] for pid in parents if _descends(pid, parents)}


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parents.get(pid, 0)
    return False


def _name_of(words: Sequence[str]) -> str:
    """What a person calls the process: its node's name, its module, or its program."""
    for word in words:
        if word.startswith("__node:="):
            return word.partition(":=")[2]
    module = next((after for word, after in itertools.pairwise(words) if word == "-m"), None)
    return module or next((Path(word).name for word in words[1:2] if word), Path(words[0]).name)


def _load(before: dict[tuple[int, str], float], *, seconds: float) -> dict[str, float]:
    load: dict[str, float] = {}
    for (pid, name), used in _processor_seconds().items():
        load[name] = load.get(name, 0.0) + 100.0 * (used - before.get((pid, name), used)) / seconds
    return dict(sorted(load.items(), key=lambda item: -item[1]))


def _print(figures: ActingFigures) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from mola_nodes.bench.phases import ROWS  # noqa: PLC0415

    table = Table("", "", title=f"{figures.bundle} on the whole graph, {figures.mode}", show_header=False)
    table.columns[1].justify = "right"
    for name, told in ROWS.items():
        table.add_row(name, told(figures.phase))
    inference = (figures.inference_p50_ms, figures.inference_p99_ms, figures.inference_max_ms)
    table.add_row("imagination and actor, ms: p50 / p99 / max", " / ".join(f"{value:.0f}" for value in inference))
    for name, hop in figures.hops.items():
        table.add_row(f"{name}, ms: p50 / p99 / max", f"{hop.p50_ms:.1f} / {hop.p99_ms:.1f} / {hop.max_ms:.1f}")
    load = figures.processor_percent
    table.add_row("processor, % of one core", f"{sum(load.values()):.0f}")
    for name, percent in load.items():
        if percent >= 1.0:
            table.add_row(f"  {name}", f"{percent:.0f}")
    console = Console()
    console.print(table)
    for ending in figures.endings:
        console.print(f"a run ended, and another began: {ending}", soft_wrap=True)
