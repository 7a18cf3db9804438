"""The table that people read."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from mola_core.evaluation.figures import RateFigures


def print_rates(rows: Sequence[RateFigures], *, title: str) -> None:
    """A line for each task; the failures' reasons are in the file of results."""
    table = Table(title=title)
    for heading in ("task", "success", "rate", "95 % interval", "mean s", "decision ms"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for row in rows:
        table.add_row(
            row.task,
            f"{row.successes}/{row.trials}",
            f"{100 * row.rate:.1f} %",
            f"{100 * row.rate_low:.1f}-{100 * row.rate_high:.1f} %",
            f"{row.duration_mean_s:.1f}" if row.successes else "-",
            f"{row.act_mean_ms:.1f}",
        )
    Console().print(table)
