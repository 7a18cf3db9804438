"""``mola demo``: what ``make demo`` calls."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mola_nodes.demo.run import DemoResult

_DEFAULT_OUT = Path("runs") / "demo"


def register(subparsers: Any) -> None:
    """Add ``demo`` to the commands of ``mola``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="bring up twin and graph, do every task once, print a table, leave a video",
        description=(
            "Bring up the simulated rig and the whole ROS 2 graph, let MoLA do every task once in real time, hot-swap its bundle in "
            "the middle of the first, print what was measured, and leave a recording and a video of what the cameras saw beside what "
            "was imagined. Needs no robot, no GPU and no ROS installation."
        ),
    )
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task; may be repeated")
    parser.add_argument(
        "--policy",
        choices=("mola", "scripted"),
        default="mola",
        help="what acts: the learned policy, or the expert that sees the twin's truth (default: %(default)s)",
    )
    parser.add_argument(
        "--bundle",
        action="append",
        default=[],
        metavar="NAME/VERSION",
        help="of the learned policy; a second one takes over in the middle of the first task (the last two versions in the folder)",
    )
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=44,
        help="start positions (default: %(default)s, where the policy that ships does all tasks in lockstep, and 250 ms late)",
    )
    parser.add_argument("--host", default="127.0.0.2", help="loopback address for the twin (default: %(default)s)")
    parser.add_argument(
        "--fps",
        type=int,
        choices=(15, 30, 60),
        help="pictures a second of both cameras (the site's: 30; 15 where the machine does not keep up with that)",
    )
    parser.add_argument(
        "--out", type=Path, default=_DEFAULT_OUT, metavar="DIR", help="where video and log go (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when every task succeeded."""
    from rich.console import Console  # noqa: PLC0415 - help must not pay for these

    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415
    from mola_nodes.demo.run import DemoOptions, chosen_tasks, run_demo  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    options = DemoOptions(
        out=arguments.out,
        tasks=chosen_tasks(arguments.task),
        seed=arguments.seed,
        host=arguments.host,
        fps=arguments.fps,
        policy=arguments.policy,
        models=arguments.models,
        bundles=tuple(arguments.bundle),
    )
    result = run_demo(options, say=lambda line: console.print(f"  {line}", soft_wrap=True))
    if arguments.json:
        print_json(measurement_report("demo", {"result": result}))
    else:
        _print_table(result)
    return 0 if all(episode.success for episode in result.episodes) else 1


def _print_table(result: "DemoResult") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    who = "the learned policy" if result.policy == "mola" else "the scripted policy"
    table = Table(title=f"MoLA on the twin: {who}, one episode a task, in real time")
    swapped = any(episode.swap_gap_ms is not None for episode in result.episodes)
    table.add_column("task", no_wrap=True)
    for name in ("done", "try", "s", "cmd\n/s", "chunk\n/s", "p50\nms", "p99\nms", "late\nticks"):
        table.add_column(name, justify="left" if name == "done" else "right", no_wrap=True)
    if swapped:
        table.add_column("swap\nms", justify="right", no_wrap=True)
    for episode in result.episodes:
        table.add_row(
            episode.task,
            "yes" if episode.success else "no",
            str(episode.attempt),
            f"{episode.duration_s:.1f}",
            f"{episode.command_rate_hz:.0f}",
            f"{episode.chunk_rate_hz:.0f}",
            _milliseconds(episode.latency_p50_ms),
            _milliseconds(episode.latency_p99_ms),
            f"{100.0 * episode.deadline_misses / episode.ticks:.1f} %" if episode.ticks else "-",
            *([_milliseconds(episode.swap_gap_ms)] if swapped else []),
        )
    console = Console()
    console.print(table)
    console.print(
        "cmd, chunk: sent to the arm; p50, p99: camera to servo, over the whole run so far; late ticks: servo ticks that missed "
        "their 2 ms deadline; try: tried again where the arm stopped for safety (it hit something, or the machine was busy), and "
        "once where MoLA ran out of time",
        soft_wrap=True,
    )
    for episode in result.episodes:
        if not episode.success:
            console.print(f"{episode.task}: {episode.reason}", soft_wrap=True)
    recordings = f"   recordings: {result.recordings}" if result.recordings else ""
    console.print(f"video: {result.video}   log: {result.log}{recordings}", soft_wrap=True)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
