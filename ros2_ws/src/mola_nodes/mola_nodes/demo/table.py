"""What a demo has shown, for a terminal of eighty columns: a row a task, a row a hop, and what went wrong."""

from rich.console import Console
from rich.table import Table

from mola_nodes.demo.episodes import EpisodeResult
from mola_nodes.demo.hop_table import hop_table, open_table
from mola_nodes.demo.options import MOLA
from mola_nodes.demo.run import DemoResult

_LEGEND = (
    "cmd: servo targets sent to the arm; plan: distinct action chunks, which are the answers of the policy; msg: chunk messages, in "
    "which a running plan is said again with every new picture; p50, p99: camera to servo; late ticks: those of the servo that missed "
    "their 2 ms deadline; swap: what the hot swap added to the interval between two answers; try: tried again where the arm stopped "
    "for safety (it hit something, or the machine was busy), and once where MoLA ran out of time"
)


def print_demo(result: DemoResult, *, console: Console) -> None:
    """Print all of it to ``console``, the verdict last."""
    console.print(_task_table(result))
    if result.hops:
        console.print("", hop_table(result.hops, title="latency by hop, ms, over all attempts"), sep="\n")
    console.print("", _LEGEND, sep="\n")
    failures = [f"{episode.task}: {episode.reason}" for episode in result.episodes if not episode.success]
    for line in (*failures, *result.problems):
        console.print(line, markup=False, soft_wrap=True)
    recordings = f"   recordings ({result.num_recorded}): {result.recordings}" if result.recordings else ""
    console.print(f"video: {result.video}   log: {result.log}{recordings}", soft_wrap=True)
    how = "passed" if result.succeeded else "failed"
    console.print(f"{how}: {result.num_done} of {len(result.tasks)} tasks done")


def _task_table(result: DemoResult) -> Table:
    who = "the learned policy" if result.policy == MOLA else "the scripted policy"
    table = open_table(f"MoLA on the twin: {who}, one episode a task, in real time")
    swapped = any(episode.swap_gap_ms is not None for episode in result.episodes)
    table.add_column("task", no_wrap=True)
    for name in ("done", "try", "s", "cmd\n/s", "plan\n/s", "msg\n/s", "p50\nms", "p99\nms", "late\nticks"):
        table.add_column(name, justify="left" if name == "done" else "right", no_wrap=True)
    if swapped:
        table.add_column("swap\nms", justify="right", no_wrap=True)
    for episode in result.episodes:
        table.add_row(*_cells(episode), *([_milliseconds(episode.swap_gap_ms)] if swapped else []))
    return table


def _cells(episode: EpisodeResult) -> tuple[str, ...]:
    path = episode.camera_to_servo
    return (
        episode.task,
        "yes" if episode.success else "no",
        str(episode.attempt),
        f"{episode.duration_s:.1f}",
        f"{episode.command_rate_hz:.0f}",
        f"{episode.plan_rate_hz:.1f}",
        f"{episode.message_rate_hz:.1f}",
        _milliseconds(path.p50_ms if path else None),
        _milliseconds(path.p99_ms if path else None),
        f"{episode.deadline_misses} ({100.0 * episode.deadline_misses / episode.ticks:.1f} %)"
        if episode.ticks
        else "-",
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
