"""``mola twin expert``: how well the scripted expert does, in lockstep or against running twins."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_twin.expert.campaign import Campaign
    from mola_twin.expert.trials import Trial

_SITE = Path("launch/sites/twin.yaml")
_SPEED_SEEDS = 4
"""Seeds for each task of the second, picture-less measurement of speed."""


def register_expert(subparsers: Any) -> None:
    """Add ``expert``."""
    parser = subparsers.add_parser("expert", help="trials of the scripted expert: success, durations, speed")
    parser.add_argument("--task", default="all", help="a task's name, several with commas, or all (all)")
    parser.add_argument("--trials", type=int, default=100, help="seeds for each task (100)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (0)")
    parser.add_argument("--variant", default="id", help="id, distractors, lighting, camera, phrasing or colour (id)")
    parser.add_argument("--mode", choices=("lockstep", "rtde"), default="lockstep", help="how the rig runs (lockstep)")
    parser.add_argument("--workers", type=int, default=2, help="processes in lockstep (2)")
    parser.add_argument(
        "--render-px", type=int, default=128, help="side of both views at 10 Hz in lockstep, 0: none (128)"
    )
    parser.add_argument("--noise", action="store_true", help="make mistakes and recover from them")
    parser.add_argument("--host", action="append", help="running twin for --mode rtde; repeat for more (127.0.0.2)")
    parser.add_argument("--site", type=Path, default=_SITE, help=f"site file ({_SITE})")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    tasks = _tasks(arguments.task)
    seeds = range(arguments.seed, arguments.seed + arguments.trials)
    figures = (_lockstep if arguments.mode == "lockstep" else _rtde)(arguments, tasks, seeds)
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415  # help stays fast

        print_json(measurement_report("twin expert", figures))
    else:
        _print_table(figures)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    for name, low, high in (("trials", 1, 100_000), ("workers", 1, 256), ("seed", 0, 2**31), ("render_px", 0, 720)):
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is outside {low}..{high}")


def _tasks(names: str) -> list[str]:
    from mola_twin.tasks.instructions import TASKS, task_spec  # noqa: PLC0415  # help stays fast

    return list(TASKS) if names == "all" else [task_spec(name.strip()).name for name in names.split(",")]


def _lockstep(arguments: argparse.Namespace, tasks: Sequence[str], seeds: range) -> dict[str, Any]:
    from mola_twin.expert.campaign import Episode, run_campaign  # noqa: PLC0415  # help stays fast
    from mola_twin.expert.trials import TrialSettings  # noqa: PLC0415

    def campaign(render_px: int, chosen: range) -> "Campaign":
        settings = TrialSettings(variant=arguments.variant, render_px=render_px or None, noise=arguments.noise)
        episodes = [Episode(task, seed, settings) for task in tasks for seed in chosen]
        return run_campaign(arguments.site, episodes, workers=arguments.workers, progress=_say)

    main = campaign(arguments.render_px, seeds)
    figures = _figures(arguments, main.trials)
    figures |= {"workers": arguments.workers, "render_px": arguments.render_px, "wall_s": main.wall_s}
    figures["real_time_factor"] = main.real_time_factor
    if arguments.render_px:
        figures["real_time_factor_without_rendering"] = campaign(0, seeds[:_SPEED_SEEDS]).real_time_factor
    return figures


def _rtde(arguments: argparse.Namespace, tasks: Sequence[str], seeds: range) -> dict[str, Any]:
    from mola_twin.expert.realtime import run_on_twins  # noqa: PLC0415  # help stays fast

    hosts = arguments.host or ["127.0.0.2"]
    episodes = [(task, seed) for task in tasks for seed in seeds]
    trials = run_on_twins(
        site_path=arguments.site, hosts=hosts, episodes=episodes, variant=arguments.variant, progress=_say
    )
    return _figures(arguments, trials) | {"hosts": hosts}


def _figures(arguments: argparse.Namespace, trials: "Sequence[Trial]") -> dict[str, Any]:
    from mola_twin.expert.statistics import task_figures  # noqa: PLC0415  # help stays fast

    return {
        "mode": arguments.mode,
        "variant": arguments.variant,
        "first_seed": arguments.seed,
        "tasks": task_figures(trials),
    }


def _say(trial: "Trial") -> None:
    if not trial.success:
        sys.stderr.write(f"{trial.task} seed {trial.seed}: {trial.outcome}\n")


def _print_table(figures: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415  # help stays fast
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"scripted expert, {figures['mode']}, variant {figures['variant']}")
    for heading in ("task", "success", "95 % interval", "mean s", "max s", "retried"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for row in figures["tasks"]:
        table.add_row(
            row.task,
            f"{row.successes}/{row.trials}",
            f"{100 * row.rate_low:.1f}-{100 * row.rate_high:.1f} %",
            f"{row.duration_mean_s:.1f}",
            f"{row.duration_max_s:.1f}",
            str(row.retried),
        )
    console = Console()
    console.print(table)
    if "real_time_factor" in figures:
        size = figures["render_px"]
        views = f"both views at {size} x {size}, 10 Hz" if size else "nothing drawn"
        console.print(f"{figures['real_time_factor']:.2f} x real time with {figures['workers']} workers, {views}")
    if "real_time_factor_without_rendering" in figures:
        console.print(f"{figures['real_time_factor_without_rendering']:.2f} x real time without rendering")
