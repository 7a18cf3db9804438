"""``mola eval RIG``: how often a policy succeeds on a lockstep rig, with intervals; resumable, parallel over cores."""

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mola_core.evaluation.conditions import CONTROLS, Conditions, Control
from mola_core.evaluation.errors import EvaluationError

if TYPE_CHECKING:
    from mola_core.evaluation.campaign import Campaign
    from mola_core.evaluation.results import ResultsFile
    from mola_core.evaluation.rollout import Episode

_SITE = Path("launch/sites/twin.yaml")
_RESULTS = Path("runs/eval")
_FIRST_SEED = 0
"""Demonstrations are generated from seeds far above those of evaluations; a rig names both ranges."""
_DEFAULT_TRIALS = 20


def register(subparsers: Any) -> None:
    """Add ``eval``."""
    parser = subparsers.add_parser("eval", help="success of a policy in closed loop on a lockstep rig")
    parser.add_argument("rig", help="which rig: twin, or what another package offers")
    parser.add_argument("--policy", required=True, help="folder of a checkpoint or bundle, or expert, or hold")
    parser.add_argument("--task", default="all", help="a task's name, several with commas, or all (all)")
    parser.add_argument("--trials", type=int, help=f"seeds for each task ({_DEFAULT_TRIALS})")
    parser.add_argument("--seeds", help=f"A:B, from A up to B excluded, or A alone with --trials ({_FIRST_SEED})")
    parser.add_argument(
        "--variant",
        default="id",
        help="id, or how the start leaves the training distribution; several with commas (id)",
    )
    parser.add_argument(
        "--control",
        default="none",
        help=f"what is withheld from the policy: {', '.join(CONTROLS)}; several with commas (none)",
    )
    parser.add_argument("--execute-steps", type=int, help="rows executed before the next chunk (the policy's own)")
    parser.add_argument(
        "--video-steps",
        type=int,
        help="denoising passes of a checkpoint's imagination, table 10 of the paper (its recipe's)",
    )
    parser.add_argument("--action-steps", type=int, help="integration steps of a checkpoint's head (its recipe's)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="simulated inference (0)")
    parser.add_argument(
        "--untold",
        action="store_true",
        help="do not tell the policy which rows are executed during --delay-ms, as the graph does where its head can be told",
    )
    parser.add_argument("--time-limit-s", type=float, help="simulated seconds for an episode (the task's own)")
    parser.add_argument("--runtime", help="runner of a bundle's engines (the first that runs here)")
    parser.add_argument("--device", default="cpu", help="where a checkpoint runs (cpu)")
    parser.add_argument(
        "--language-weights", type=Path, metavar="FOLDER", help="of CLIP or UMT5, for a checkpoint whose recipe uses it"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument(
        "--out",
        type=Path,
        help="file of results to begin or continue; of several tables, a folder (runs/eval/CONDITIONS.jsonl)",
    )
    parser.add_argument("--films", type=Path, metavar="FOLDER", help="keep a film of each new rollout")
    parser.add_argument("--site", type=Path, default=_SITE, help=f"site file ({_SITE})")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.evaluation.campaign import run_campaign  # noqa: PLC0415  # help stays fast
    from mola_core.evaluation.results import ResultsFile  # noqa: PLC0415

    _check(arguments)
    cells = [(variant, control) for variant in _words(arguments.variant) for control in _controls(arguments.control)]
    if arguments.out is not None and len(cells) > 1 and arguments.out.is_file():
        raise EvaluationError(f"{len(cells)} tables are asked for, and --out {arguments.out} is a file; name a folder")
    _require_known(arguments, [variant for variant, _ in cells])
    reports = []
    for variant, control in cells:
        episodes = _episodes(arguments, variant)
        campaign, conditions = _campaign(arguments, variant, control)
        results = ResultsFile(_file_of(arguments, conditions, several=len(cells) > 1), conditions)
        results.open()
        with _Progress(episodes, results) as progress:
            run_campaign(campaign, episodes, results=results, workers=arguments.workers, progress=progress.advance)
        reports.append(_report(arguments, episodes, conditions=conditions, results=results))
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415  # help stays fast

        print_json(measurement_report(f"eval {arguments.rig}", {"cells": reports}))
    return 0


def _file_of(arguments: argparse.Namespace, conditions: Conditions, *, several: bool) -> Path:
    out: Path | None = arguments.out
    if out is None:
        return _RESULTS / f"{conditions.variant}-{conditions.key}.jsonl"
    return out / f"{conditions.variant}-{conditions.control}.jsonl" if several else out


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _controls(text: str) -> list[Control]:
    known: dict[str, Control] = {control: control for control in CONTROLS}
    unknown = [word for word in _words(text) if word not in known]
    if unknown:
        raise EvaluationError(f"--control {', '.join(unknown)} is not known; choose from {', '.join(CONTROLS)}")
    return [known[word] for word in _words(text)]


def _check(arguments: argparse.Namespace) -> None:
    from mola_core.evaluation.policies import WITHOUT_POLICY  # noqa: PLC0415  # help stays fast

    for name, low, high in (
        ("trials", 1, 100_000),
        ("workers", 1, 256),
        ("delay_ms", 0.0, 2000.0),
        ("execute_steps", 1, 256),
        ("video_steps", 1, 1000),
        ("action_steps", 1, 1000),
    ):
        value = getattr(arguments, name)
        if value is not None and not low <= value <= high:
            raise EvaluationError(f"--{name.replace('_', '-')} {value} is outside {low}..{high}")
    if arguments.untold and arguments.delay_ms == 0.0:
        raise EvaluationError("--untold is about what is executed during --delay-ms, which is 0")
    if arguments.untold and arguments.policy in WITHOUT_POLICY:
        raise EvaluationError(f"--policy {arguments.policy} plans nothing that it could be told of; leave --untold out")
    if arguments.time_limit_s is not None and arguments.time_limit_s <= 0:
        raise EvaluationError(f"--time-limit-s {arguments.time_limit_s} is not positive")
    if not arguments.site.is_file():
        raise EvaluationError(f"site file {arguments.site} does not exist; run from the repository or give --site")


def _seeds(text: str | None, trials: int | None) -> range:
    """``A:B``, or ``A`` with a number of trials."""
    first, colon, last = (text or str(_FIRST_SEED)).partition(":")
    try:
        start = int(first)
        stop = int(last) if colon else start + (trials or _DEFAULT_TRIALS)
    except ValueError as error:
        raise EvaluationError(f"--seeds {text!r} is not A:B or A with whole numbers") from error
    if not 0 <= start < stop:
        raise EvaluationError(f"--seeds {text!r} holds no seeds; give A:B with 0 <= A < B")
    if colon and trials is not None and trials != stop - start:
        raise EvaluationError(f"--seeds {text} are {stop - start} seeds, --trials says {trials}; give one of them")
    return range(start, stop)


def _require_known(arguments: argparse.Namespace, variants: "Sequence[str]") -> None:
    """Refuse tasks and variants that the rig does not have; ``arguments.task`` becomes a list of tasks."""
    from mola_core.evaluation.rigs import open_rig  # noqa: PLC0415  # help stays fast

    rig = open_rig(arguments.rig, site=arguments.site)
    try:
        arguments.task = list(rig.tasks) if arguments.task == "all" else _words(arguments.task)
        for what, asked, known in (("--task", arguments.task, rig.tasks), ("--variant", variants, rig.variants)):
            unknown = [name for name in asked if name not in known]
            if unknown:
                raise EvaluationError(f"{what} {', '.join(unknown)} is not known; choose from {', '.join(known)}")
    finally:
        rig.close()


def _episodes(arguments: argparse.Namespace, variant: str) -> "list[Episode]":
    """Seed by seed, so that an interrupted campaign has as many of each task."""
    from mola_core.evaluation.rollout import Episode  # noqa: PLC0415  # help stays fast

    seeds = _seeds(arguments.seeds, arguments.trials)
    return [Episode(task, seed, variant) for seed in seeds for task in arguments.task]


def _campaign(arguments: argparse.Namespace, variant: str, control: Control) -> "tuple[Campaign, Conditions]":
    from mola_core.contracts.clock import NS_PER_MS  # noqa: PLC0415  # help stays fast
    from mola_core.evaluation.campaign import Campaign  # noqa: PLC0415
    from mola_core.evaluation.policies import PolicyChoice, identity_of  # noqa: PLC0415
    from mola_core.evaluation.rollout import RolloutSettings  # noqa: PLC0415

    choice = PolicyChoice(
        name=arguments.policy,
        control=control,
        execute_steps=arguments.execute_steps,
        video_steps=arguments.video_steps,
        action_steps=arguments.action_steps,
        runtime=arguments.runtime,
        device=arguments.device,
        language_weights=arguments.language_weights,
    )
    conditions = Conditions(
        policy=identity_of(choice),
        rig=arguments.rig,
        site=hashlib.sha256(arguments.site.read_bytes()).hexdigest()[:12],
        variant=variant,
        control=control,
        execute_steps=arguments.execute_steps,
        delay_ms=arguments.delay_ms,
        untold=arguments.untold,
        time_limit_s=arguments.time_limit_s,
        video_steps=arguments.video_steps,
        action_steps=arguments.action_steps,
    )
    settings = RolloutSettings(
        delay_ns=round(arguments.delay_ms * NS_PER_MS), untold=arguments.untold, time_limit_s=arguments.time_limit_s
    )
    campaign = Campaign(rig=arguments.rig, site=arguments.site, choice=choice, settings=settings, films=arguments.films)
    return campaign, conditions


def _report(
    arguments: argparse.Namespace, episodes: "Sequence[Episode]", *, conditions: Conditions, results: "ResultsFile"
) -> dict[str, Any]:
    """One table, printed unless JSON is wanted."""
    from mola_core.evaluation.figures import rate_figures  # noqa: PLC0415

    rollouts = [results.rollouts[episode.task, episode.seed] for episode in episodes]
    rows = rate_figures(rollouts)
    if not arguments.json:
        from mola_core.evaluation.table import print_rates  # noqa: PLC0415

        print_rates(rows, title=_title(conditions))
    seeds = sorted({episode.seed for episode in episodes})
    return {
        "conditions": conditions,
        "first_seed": seeds[0],
        "last_seed": seeds[-1],
        "tasks": rows,
        "results": results.path,
    }


def _title(conditions: Conditions) -> str:
    said = [conditions.policy, f"variant {conditions.variant}", f"control {conditions.control}"]
    steps = {"video": conditions.video_steps, "action": conditions.action_steps}
    return ", ".join([*said, *(f"{number} {what} steps" for what, number in steps.items() if number is not None)])


class _Progress:
    """A bar with the time left, on stderr."""

    def __init__(self, episodes: "Sequence[Episode]", results: "ResultsFile") -> None:
        from rich.console import Console  # noqa: PLC0415  # help stays fast
        from rich.progress import Progress  # noqa: PLC0415

        self._bar = Progress(console=Console(stderr=True), transient=True)
        done = sum((episode.task, episode.seed) in results.rollouts for episode in episodes)
        self._task = self._bar.add_task("rollouts", total=len(episodes), completed=done)

    def advance(self, _rollout: Any) -> None:
        self._bar.advance(self._task)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
