"""What a bench of hot swaps has found, what must hold of it, and how it is told."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from mola_nodes.bench.memory import MemorySample, resident_span, spans_of
from mola_nodes.bench.phases import ROWS, PhaseFigures


@dataclass(frozen=True, slots=True)
class Swap:
    """One; times in ms."""

    load_ms: float
    """From the request until it was warm in both halves: tried in a process of its own, loaded, rehearsed."""
    takeover_ms: float
    """From the request to serve to its first answer."""
    gap_ms: float
    """What it added to the usual interval between two answers."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What is still the same."""

    late_points: float
    """Late servo ticks with swaps beyond those without, percentage points."""
    memory_mib: float
    """Resident memory after the last swap beyond that before the first, MiB."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that must hold."""

    what: str
    passed: bool
    told: str


@dataclass(frozen=True, slots=True)
class SwapFigures:
    """What the bench found."""

    without: PhaseFigures
    during: PhaseFigures
    """From the first load to the last release: every swap loads anew, and the old bundle is let go."""
    swaps: tuple[Swap, ...]
    memory: tuple[MemorySample, ...]
    """With the serving bundle alone loaded: before the first swap, after every ten, and after the last."""
    verdicts: tuple[Verdict, ...]
    endings: tuple[str, ...]
    """Why runs of the policy ended by themselves in between; each time the arm was brought home and it ran again."""

    @property
    def passed(self) -> bool:
        """Everything that must hold did."""
        return all(verdict.passed for verdict in self.verdicts)


def verdicts_of(
    without: PhaseFigures, during: PhaseFigures, memory: Sequence[MemorySample], tolerances: Tolerances
) -> tuple[Verdict, ...]:
    """The phase with swaps held against the one without, and the memory against that of before."""
    more_late = during.miss_percent - without.miss_percent
    resident = resident_span(memory)
    return (
        Verdict(
            "late servo ticks",
            more_late <= tolerances.late_points,
            f"{during.miss_percent:.1f} % with, {without.miss_percent:.1f} % without; +{tolerances.late_points:g} allowed",
        ),
        Verdict("stops: the graph was too slow", during.late_stops == 0, f"{during.late_stops}; none allowed"),
        Verdict("chunks refused", during.refused == 0, f"{during.refused}; none allowed"),
        Verdict(
            "memory back where it was",
            resident.growth_mib <= tolerances.memory_mib,
            f"{resident.last_mib:.0f} MiB last, {resident.first_mib:.0f} first; +{tolerances.memory_mib:g} allowed",
        ),
    )


def print_swaps(figures: SwapFigures, *, console: Console) -> None:
    """Both phases side by side, the swaps, the memory, and whether it passed."""
    console.print(_phase_table(figures))
    console.print(_swap_table(figures.swaps))
    console.print(_memory_table(figures.memory))
    console.print(_verdict_table(figures.verdicts))
    for ending in figures.endings:
        console.print(f"a run ended, and another began: {ending}", markup=False, soft_wrap=True)
    console.print("passed" if figures.passed else "missed")


def _phase_table(figures: SwapFigures) -> Table:
    table = _table("", "without swaps", "with swaps", title=f"{len(figures.swaps)} hot swaps while the arm moves")
    for name, told in ROWS.items():
        table.add_row(name, told(figures.without), told(figures.during))
    return table


def _swap_table(swaps: Sequence[Swap]) -> Table:
    table = _table("of a swap, ms", "median", "max")
    columns = {
        "request to loaded (tried, loaded, rehearsed)": [swap.load_ms for swap in swaps],
        "request to first answer": [swap.takeover_ms for swap in swaps],
        "gap beyond the usual interval between answers": [swap.gap_ms for swap in swaps],
    }
    for name, values in columns.items():
        table.add_row(name, f"{statistics.median(values):.0f}", f"{max(values):.0f}")
    return table


def _memory_table(samples: Sequence[MemorySample]) -> Table:
    table = _table(f"memory, MiB, {len(samples)} samples", "first", "last", "max")
    for span in spans_of(samples):
        table.add_row(span.what, f"{span.first_mib:.0f}", f"{span.last_mib:.0f}", f"{span.max_mib:.0f}")
    return table


def _verdict_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("must hold", "", "found", padding=(0, 1, 0, 0))
    for verdict in verdicts:
        table.add_row(verdict.what, "passed" if verdict.passed else "missed", verdict.told)
    return table


def _table(*names: str, title: str | None = None) -> Table:
    table = Table(*names, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
