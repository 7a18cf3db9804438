"""Hot swaps while the arm moves under policy, beside the same run without any.

The whole graph runs on the twin. First the policy acts for a while undisturbed; then two bundles take over from each other, again
and again. Reported side by side: servo ticks that missed their deadline, stops, the cadence of the policy's answers, the gap that
each swap left in it, and the memory of the processes that hold the engines before and after.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_interfaces.msg import CommandedState, LatentActions, ServoStatus

    from mola_nodes.bundles.client import BundleClient
    from mola_nodes.demo.operator_client import OperatorClient, PolicyRun

_INSTRUCTION = "press the button"
_SETTLE_S = 0.5
_RUN_S = 600.0
_HOLDERS = ("imagination_node", "policy_node", "mola_process")


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One stretch of the run."""

    seconds: float
    ticks: int
    deadline_misses: int
    miss_percent: float
    stops: int
    """Times that the servo left its engaged states."""
    commands_per_s: float
    """Targets that the servo sent to the arm."""
    refused: int
    """Chunks that the controller or the servo did not take."""
    path_m: float
    """What the tool's commanded position travelled."""
    answers: int
    interval_p50_ms: float
    """Between the policy's answers."""
    interval_p99_ms: float
    interval_max_ms: float


@dataclass(frozen=True, slots=True)
class SwapFigures:
    """What the bench found."""

    count: int
    without: PhaseFigures
    during: PhaseFigures
    gap_p50_ms: float
    """What a swap added to the usual interval between two answers."""
    gap_max_ms: float
    takeover_p50_ms: float
    """From the request to the first answer of the new bundle."""
    takeover_max_ms: float
    memory_before_mib: float
    """Resident, of the processes that hold engines, with both bundles loaded."""
    memory_after_mib: float


@dataclass
class _Watch:
    """What is heard from the graph; written by the spinning thread."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    """(time of arrival s, bundle)."""
    path_m: float = 0.0
    _last: np.ndarray | None = None

    def note(self, message: "LatentActions") -> None:
        """An answer of the policy."""
        self.answers.append((time.monotonic(), message.bundle_id))

    def follow(self, message: "CommandedState") -> None:
        """Where the tool is meant to be."""
        position = np.array(message.base_from_tcp[:3])
        if self._last is not None:
            self.path_m += float(np.linalg.norm(position - self._last))
        self._last = position


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
    """Bring the graph up, measure, take it down; 0 when every swap took over and nothing stopped the arm."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 - help must not pay for these

    if not 1 <= args.count <= 10_000 or not 1.0 <= args.seconds <= 3600.0:
        raise ConfigError(f"--count {args.count} must be 1..10000 and --seconds {args.seconds:g} 1..3600")
    figures = measure(args)
    if args.json:
        print_json(measurement_report("bench swap", {"result": figures}))
    else:
        _print_table(figures)
    return 0 if figures.during.stops == 0 and figures.during.refused == 0 else 1


def measure(args: argparse.Namespace) -> SwapFigures:
    """All of it; raises MolaError where the graph or a swap fails."""
    from mola_nodes import graph  # noqa: PLC0415
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
        operator, watch = twin.operator, _Watch()
        operator.subscribe(graph.LATENT_ACTIONS, watch.note)
        operator.subscribe(graph.COMMANDED, watch.follow)
        client = BundleClient(operator)
        client.wait_serving(first)
        client.load(second)
        operator.resume()
        goal = operator.run(_INSTRUCTION, time_limit_s=_RUN_S)
        try:
            return _phases(args, operator=operator, client=client, watch=watch, goal=goal)
        finally:
            goal.abandon()


def _phases(
    args: argparse.Namespace,
    *,
    operator: "OperatorClient",
    client: "BundleClient",
    watch: _Watch,
    goal: "PolicyRun",
) -> SwapFigures:
    operator.wait_for(lambda: bool(watch.answers), "the first answer of the policy", timeout_s=30.0)
    begin = _mark(operator, watch)
    time.sleep(args.seconds)
    without = _phase(operator, watch, begin)
    memory_before = _memory_mib()
    begin = _mark(operator, watch)
    gaps, takeovers = [], []
    for number in range(args.count):
        new = args.bundles[(number + 1) % 2]
        if goal.done:
            raise MolaError(f"the run ended during swap {number}: {goal.result().reason}")
        if number:
            client.load(new)
        takeover_ms, gap_ms = _swap(client, operator, watch, new, usual_ms=without.interval_p50_ms)
        takeovers.append(takeover_ms)
        gaps.append(gap_ms)
        time.sleep(_SETTLE_S)
    return SwapFigures(
        count=args.count,
        without=without,
        during=_phase(operator, watch, begin),
        gap_p50_ms=statistics.median(gaps),
        gap_max_ms=max(gaps),
        takeover_p50_ms=statistics.median(takeovers),
        takeover_max_ms=max(takeovers),
        memory_before_mib=memory_before,
        memory_after_mib=_memory_mib(),
    )


def _swap(
    client: "BundleClient", operator: "OperatorClient", watch: _Watch, new: str, *, usual_ms: float
) -> tuple[float, float]:
    """Promote and wait for the first answer of ``new``: how long that took, and what it added to the interval, ms."""
    asked = time.monotonic()
    client.promote(new)
    operator.wait_for(lambda: watch.answers[-1][1] == new, f"an answer of {new}", timeout_s=20.0)
    answers = list(watch.answers)
    index = next(i for i in range(len(answers) - 1, 0, -1) if answers[i - 1][1] != new)
    interval_ms = 1000.0 * (answers[index][0] - answers[index - 1][0])
    return 1000.0 * (answers[index][0] - asked), max(interval_ms - usual_ms, 0.0)


@dataclass(frozen=True, slots=True)
class _Mark:
    time_s: float
    status: int
    answers: int
    path_m: float


def _mark(operator: "OperatorClient", watch: _Watch) -> _Mark:
    return _Mark(time.monotonic(), len(operator.servo_statuses), len(watch.answers), watch.path_m)


def _phase(operator: "OperatorClient", watch: _Watch, begin: _Mark) -> PhaseFigures:
    statuses: Sequence[ServoStatus] = operator.servo_statuses[begin.status :]
    times = [when for when, _ in watch.answers[begin.answers :]]
    if len(statuses) < 2 or len(times) < 2:
        raise MolaError("the graph said too little to measure; see its log")
    ticks = statuses[-1].ticks - statuses[0].ticks
    misses = statuses[-1].deadline_misses - statuses[0].deadline_misses
    seconds = _stamp_s(statuses[-1]) - _stamp_s(statuses[0])
    intervals_ms = 1000.0 * np.diff(times)
    p50, p99 = np.percentile(intervals_ms, [50, 99])
    return PhaseFigures(
        seconds=time.monotonic() - begin.time_s,
        ticks=ticks,
        deadline_misses=misses,
        miss_percent=100.0 * misses / max(ticks, 1),
        stops=statuses[-1].stops - statuses[0].stops,
        commands_per_s=ticks / max(seconds, 1e-3),
        refused=statuses[-1].chunks_rejected - statuses[0].chunks_rejected,
        path_m=watch.path_m - begin.path_m,
        answers=len(times),
        interval_p50_ms=float(p50),
        interval_p99_ms=float(p99),
        interval_max_ms=float(intervals_ms.max()),
    )


def _stamp_s(status: "ServoStatus") -> float:
    return float(status.stamp.sec) + float(status.stamp.nanosec) * 1e-9


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


_ROWS: Mapping[str, Callable[[PhaseFigures], str]] = {
    "seconds": lambda phase: f"{phase.seconds:.0f}",
    "late servo ticks": lambda phase: f"{phase.deadline_misses} ({phase.miss_percent:.1f} %)",
    "targets sent to the arm a second": lambda phase: f"{phase.commands_per_s:.1f}",
    "stops": lambda phase: f"{phase.stops}",
    "chunks refused": lambda phase: f"{phase.refused}",
    "path of the tool, m": lambda phase: f"{phase.path_m:.2f}",
    "answers": lambda phase: f"{phase.answers}",
    "between answers, ms: p50 / p99 / max": lambda phase: (
        f"{phase.interval_p50_ms:.0f} / {phase.interval_p99_ms:.0f} / {phase.interval_max_ms:.0f}"
    ),
}


def _print_table(figures: SwapFigures) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("", "without swaps", "with swaps", title=f"{figures.count} hot swaps while the arm moves")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, told in _ROWS.items():
        table.add_row(name, told(figures.without), told(figures.during))
    console = Console()
    console.print(table)
    console.print(
        f"gap in the cadence: p50 {figures.gap_p50_ms:.0f} ms, max {figures.gap_max_ms:.0f} ms; request to first answer: "
        f"p50 {figures.takeover_p50_ms:.0f} ms, max {figures.takeover_max_ms:.0f} ms; memory of the engines' processes: "
        f"{figures.memory_before_mib:.0f} MiB before, {figures.memory_after_mib:.0f} MiB after",
        soft_wrap=True,
    )
