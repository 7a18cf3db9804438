"""Latency by hop, for a terminal of eighty columns."""

from collections.abc import Sequence

from rich.table import Table

from mola_nodes.demo.hops import HopFigures


def hop_table(hops: Sequence[HopFigures], *, title: str) -> Table:
    """A row a hop; the headings say what the quantiles are of."""
    table = open_table(title)
    table.add_column("hop", no_wrap=True)
    for name in ("count", "p50 of the\nmedian s", "p99 of the\nworst s", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for hop in hops:
        table.add_row(hop.name, str(hop.count), f"{hop.p50_ms:.1f}", f"{hop.p99_ms:.1f}", f"{hop.max_ms:.1f}")
    return table


def open_table(title: str) -> Table:
    """One without a frame, for many narrow columns."""
    return Table(title=title, title_justify="left", padding=(0, 1, 0, 0), show_edge=False)
