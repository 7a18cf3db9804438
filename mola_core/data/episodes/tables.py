"""How the commands of ``mola episode`` show a store and an episode."""

from pathlib import Path
from typing import Any

from rich.table import Table

from mola_core.data.episodes.store import StoreContents
from mola_core.data.episodes.summary import EpisodeSummary


def listing(contents: StoreContents, *, store: Path) -> dict[str, Any]:
    """What a store holds, as JSON."""
    return {
        "store": store,
        "episodes": [
            {
                "episode_id": item.meta.episode_id,
                "instruction": item.meta.instruction,
                "operator": item.meta.operator,
                "task": item.meta.task,
                "outcome": item.meta.outcome.value,
                "length_s": item.length_s,
                "size_bytes": item.size_bytes,
                "lost": item.meta.lost,
                "recovered": item.meta.recovered,
                "contract_hash": item.meta.contract_hash,
            }
            for item in contents.episodes
        ],
        "damaged": contents.damaged,
        "unfinished": [folder.name for folder in contents.unfinished],
        "trash": [folder.name for folder in contents.trash],
        "trash_bytes": contents.trash_bytes,
    }


def list_table(contents: StoreContents) -> Table:
    """One line an episode."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("episode", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("instruction", ratio=1)
    for column in ("s", "MB", "lost"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("notes")
    for item in contents.episodes:
        meta = item.meta
        notes = "recovered" if meta.recovered else "" if meta.ended_by == "the operator" else meta.ended_by
        table.add_row(
            meta.episode_id,
            meta.outcome.value,
            meta.instruction,
            f"{item.length_s:.1f}",
            megabytes(item.size_bytes),
            str(sum(meta.lost.values())),
            meta.operator,
            notes,
        )
    return table


def headline(summary: EpisodeSummary) -> str:
    """What an episode is, in a few lines."""
    meta = summary.meta
    changes = " with changes" if meta.software.dirty else ""
    software = f"{meta.software.version} {(meta.software.commit or 'without git')[:10]}{changes}"
    parts = [
        f"{meta.episode_id}: {meta.outcome.value}, {meta.instruction!r} by {meta.operator or 'nobody named'}",
        f"{summary.length_s:.1f} s, {megabytes(summary.size_bytes)} MB, ended by: {meta.ended_by}",
        f"contract {meta.contract_hash} ({', '.join(meta.cameras)}), site {meta.site_name}, software {software}",
    ]
    if meta.recovered:
        parts.append("recovered: what was not yet written when the recorder died is missing at the end")
    if summary.sources:
        who = ", ".join(f"{source or 'nobody'} {seconds:.1f} s" for source, seconds in summary.sources.items())
        parts.append(f"commanded by: {who}")
    return "\n".join(parts)


def review_table(summary: EpisodeSummary) -> Table:
    """One line a stream; those that brought nothing in the caption."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", caption_justify="left")
    table.add_column("stream", no_wrap=True)
    for column in ("messages", "Hz", "gaps", "longest", "lost", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for stream in summary.streams:
        if not stream.count:
            continue
        table.add_row(
            _short(stream.topic),
            str(stream.count),
            "-" if stream.rate_hz is None else f"{stream.rate_hz:.1f}",
            "-" if stream.longest_gap_ms is None else str(stream.gaps),
            "-" if stream.longest_gap_ms is None else f"{stream.longest_gap_ms:.0f} ms",
            str(stream.lost),
            megabytes(stream.size_bytes),
        )
    silent = [_short(stream.topic) for stream in summary.streams if not stream.count]
    if silent:
        table.caption = f"silent: {', '.join(silent)}"
    return table


def _short(topic: str) -> str:
    """Without what nearly all have in common."""
    return topic.removeprefix("/mola/").replace("/image_raw", "").replace("aligned_depth_to_color", "depth")


def as_json(summary: EpisodeSummary) -> dict[str, Any]:
    """An episode, as JSON."""
    return {
        "meta": summary.meta.model_dump(mode="json"),
        "path": summary.path,
        "length_s": summary.length_s,
        "size_bytes": summary.size_bytes,
        "streams": list(summary.streams),
        "sources_s": summary.sources,
    }


def megabytes(size: int) -> str:
    """For people."""
    return f"{size / 1e6:.1f}"
