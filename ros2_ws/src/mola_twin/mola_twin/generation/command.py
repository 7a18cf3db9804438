"""``mola data generate``: demonstrations by the scripted expert, as many as asked for."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_core.contracts.site import Site
    from mola_twin.generation.plan import GenerationPlan

_SITE = Path("launch/sites/twin.yaml")


def register(subparsers: Any) -> None:
    """Add ``generate``."""
    parser = subparsers.add_parser("generate", help="demonstrations by the scripted expert in the twin, as a dataset")
    parser.add_argument("dataset", type=Path, help="folder of the dataset; an interrupted run goes on where it stopped")
    parser.add_argument(
        "--tasks", default="all", help="tasks with commas between; all,stack_blocks: stack twice as often (all)"
    )
    parser.add_argument("--episodes", type=int, default=20, help="seeds; every task is done once from each (20)")
    parser.add_argument(
        "--first-seed",
        type=int,
        default=10_000,
        help="first seed, 10000 or above: those below are for evaluation (10000)",
    )
    parser.add_argument("--variant", default="id", help="id, distractors, lighting, camera, phrasing or colour (id)")
    parser.add_argument("--view", default="128x128", metavar="WxH", help="size of both views (128x128)")
    parser.add_argument(
        "--labels",
        type=int,
        default=0,
        metavar="N",
        help="exact depth, class and flow labels, a cell for N x N pixels; 0: none (0)",
    )
    parser.add_argument("--bursts", type=float, default=1.0, help="size of the pushes off the path; 0: none (1)")
    parser.add_argument("--calm-share", type=float, default=0.25, help="episodes without pushes (0.25)")
    parser.add_argument(
        "--arm-jitter",
        type=float,
        default=0.015,
        help="deviation of each joint from home, half of the starts, rad (0.015)",
    )
    parser.add_argument(
        "--detour-probability", type=float, default=0.0, help="chance of going to a wrong place first (0)"
    )
    parser.add_argument("--aim-noise", type=float, default=0.0, help="deviation of where the tool first stops, m (0)")
    parser.add_argument(
        "--miss-probability", type=float, default=0.0, help="chance of closing beside the thing at first (0)"
    )
    parser.add_argument(
        "--lead",
        metavar="POLICY",
        help="checkpoint or bundle that acts first; the expert takes over, and is what is imitated",
    )
    parser.add_argument("--lead-s", type=float, default=12.0, help="the longest time that it leads, s (12)")
    parser.add_argument(
        "--lead-delay-ms",
        type=float,
        default=0.0,
        help="the longest delay of what it decides; each episode draws its own, ms (0)",
    )
    parser.add_argument(
        "--until",
        choices=("home", "done"),
        default="done",
        help="a demonstration ends when the task is done, or once the arm is home again (done)",
    )
    parser.add_argument(
        "--beginning-rows",
        type=int,
        metavar="N",
        help="only the first N rows of each: many scenes in little time (all)",
    )
    parser.add_argument("--hold-rows", type=int, default=3, help="rows kept after that (3)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--site", type=Path, default=_SITE, help=f"site file ({_SITE})")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.cli.progress import Progress  # noqa: PLC0415  # help stays fast
    from mola_core.contracts.site import load_site  # noqa: PLC0415
    from mola_twin.generation.campaign import generate  # noqa: PLC0415
    from mola_twin.generation.desk import GenerationDesk  # noqa: PLC0415
    from mola_twin.labels.scene_recorder import scene_info  # noqa: PLC0415

    if not 1 <= arguments.workers <= 256:
        raise ConfigError(f"--workers {arguments.workers} is outside 1..256")
    site = load_site(arguments.site)
    plan = _plan(arguments, site)
    desk = GenerationDesk(arguments.dataset, plan)
    desk.begin()
    if not desk.complete:
        total, left = sum(1 for _ in plan.episodes()), sum(1 for _ in desk.left())
        bar = Progress(f"{arguments.dataset.name}", total=total, done=total - left)
        generate(
            arguments.site,
            desk,
            workers=arguments.workers,
            progress=lambda one, outcome: bar.advance(note=f"{one.key} {outcome or 'ok'}"),
        )
    info = None
    if plan.label_stride:
        width, height = plan.label_size
        info = scene_info(site, cameras=plan.cameras, width=width, height=height)
    failures = desk.failures()
    reader = desk.finish(info)
    _report(arguments, episodes=len(reader.episodes), rows=reader.num_rows, failures=failures)
    return 0


def _plan(arguments: argparse.Namespace, site: "Site") -> "GenerationPlan":
    from pydantic import ValidationError  # noqa: PLC0415  # help stays fast

    from mola_twin.generation.lead import lead_plan  # noqa: PLC0415
    from mola_twin.generation.plan import GenerationPlan, NoisePlan  # noqa: PLC0415
    from mola_twin.tasks.instructions import TASKS, task_spec  # noqa: PLC0415
    from mola_twin.tasks.seeds import require_training_seeds  # noqa: PLC0415
    from mola_twin.tasks.variants import VARIANTS  # noqa: PLC0415

    words = [name.strip() for name in arguments.tasks.split(",")]
    names = [name for word in words for name in (TASKS if word == "all" else (word,))]
    if arguments.lead is None and arguments.lead_delay_ms:
        raise ConfigError("--lead-delay-ms is about what --lead decides; name a checkpoint or bundle there")
    require_training_seeds(arguments.first_seed, arguments.episodes)
    if arguments.variant not in VARIANTS:
        raise ConfigError(f"--variant {arguments.variant!r} is not known; choose one of {', '.join(VARIANTS)}")
    width, height = _size(arguments.view)
    try:
        return GenerationPlan(
            tasks=tuple(task_spec(name).name for name in names),
            first_seed=arguments.first_seed,
            num_seeds=arguments.episodes,
            variant=arguments.variant,
            cameras=tuple(site.cameras),
            view_width=width,
            view_height=height,
            until=arguments.until,
            beginning_rows=arguments.beginning_rows,
            hold_rows=arguments.hold_rows,
            noise=NoisePlan(
                bursts=arguments.bursts,
                calm_share=arguments.calm_share,
                detour_probability=arguments.detour_probability,
                aim_m=arguments.aim_noise,
                miss_probability=arguments.miss_probability,
                arm_jitter_rad=arguments.arm_jitter,
            ),
            lead=None
            if arguments.lead is None
            else lead_plan(
                arguments.lead, longest_s=arguments.lead_s, longest_delay_s=arguments.lead_delay_ms / 1000.0
            ),
            label_stride=arguments.labels,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))} {first['input']!r}: {first['msg']}") from error


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise ConfigError(f"--view {text!r} is no size; write it as 128x128") from None
    return width, height


def _report(arguments: argparse.Namespace, *, episodes: int, rows: int, failures: list[Any]) -> None:
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415  # help stays fast

        figures = {"dataset": arguments.dataset, "episodes": episodes, "rows": rows, "failed": failures}
        print_json(measurement_report("data generate", figures))
        return
    sys.stdout.write(
        f"{arguments.dataset}: {episodes} episodes, {rows} rows; {len(failures)} attempts failed and were left out\n"
    )
    for failure in failures:
        sys.stdout.write(f"  {failure['task']} seed {failure['seed']}: {failure['outcome']}\n")
