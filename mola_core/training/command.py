"""``mola train``: the three stages of a recipe, alone or all together; resumable, on one process or under ``torchrun``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_core.training.recipe import Recipe
    from mola_core.training.run import Run

_STAGES = {
    "stage1": "the video model (and first the small one's autoencoder)",
    "stage2": "the inverse dynamics models",
    "stage3": "mixture and action head, jointly",
    "all": "all stages, from a dataset to a checkpoint that acts",
}
_RUNS = Path("runs/train")


def register(subparsers: Any) -> None:
    """Add ``train``."""
    parser = subparsers.add_parser("train", help="the stages of a recipe, from datasets to a checkpoint")
    stages = parser.add_subparsers(required=True, metavar="|".join([*_STAGES, "recipes"]))
    for name, help_ in _STAGES.items():
        stage = stages.add_parser(name, help=help_)
        _add_options(stage)
        stage.set_defaults(run=_run, stage=name)
    recipes = stages.add_parser("recipes", help="the recipes there are, or all settings of one")
    recipes.add_argument("recipe", nargs="?", help="whose settings to show")
    recipes.set_defaults(run=_recipes)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--recipe", required=True, help="its name, or recipe.variant; mola train recipes lists them")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="another value for one of its settings")
    add("--data", action="append", default=[], metavar="[NAME=]PATH", help="where a dataset of the recipe lies")
    add("--skip-bad", action="store_true", help="leave out, and name, bad files of datasets that are not ours")
    add("--out", type=Path, help=f"folder of the run, to begin or to go on with ({_RUNS}/RECIPE)")
    add(
        "--from",
        dest="base",
        type=Path,
        metavar="CHECKPOINT",
        help="take earlier stages' parts from here instead, and go on from a stage it has reached",
    )
    add(
        "--take",
        default="",
        metavar="PARTS",
        help="stage III begins with these parts of --from's policy (visual, head, …, with commas between) and learns the others anew",
    )
    add("--minutes", type=float, help="save and stop after so long; run again to go on")
    add(
        "--within",
        type=float,
        metavar="MINUTES",
        help="end each stage after so long, its learning rate falling with the time",
    )
    add("--device", default="auto", help="auto, cpu or cuda (auto)")
    add(
        "--spread", choices=("replicate", "shard"), default="replicate", help="how torchrun's processes share the model"
    )
    add("--workers", type=int, default=0, help="threads that read ahead (0: none)")
    add("--threads", type=int, help="CPU threads (torch's own choice)")
    add("--caches", type=Path, metavar="FOLDER", help="where latents and features are kept (in the run's folder)")
    add("--language-weights", type=Path, metavar="FOLDER", help="of CLIP or UMT5, for recipes that use it")


def _run(arguments: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415  # help stays fast

    from mola_core.training.distributed import join_world  # noqa: PLC0415
    from mola_core.training.memory import keep_freed_memory  # noqa: PLC0415
    from mola_core.training.pipeline import train  # noqa: PLC0415
    from mola_core.training.progress import ConsoleReporter, SilentReporter  # noqa: PLC0415
    from mola_core.training.stage_order import NUMBERED  # noqa: PLC0415
    from mola_core.training.stopping import StopRequest  # noqa: PLC0415

    recipe = _recipe(arguments)
    if arguments.within is not None and not arguments.within > 0.0:
        raise ConfigError(f"--within {arguments.within:g} must be positive")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    stop = StopRequest(after_s=None if arguments.minutes is None else 60.0 * arguments.minutes)
    with join_world(device=arguments.device, spread=arguments.spread) as world, stop.on_signals():
        reporter = ConsoleReporter() if world.is_main else SilentReporter()
        run = _run_of(arguments, recipe, world=world, reporter=reporter, stop=stop)
        final = train(run, NUMBERED[arguments.stage])
        if world.is_main:
            reporter.event(f"checkpoint: {final}")
            if final.parent.name == "policy":
                reporter.event(f"next: mola eval twin --policy {final}")
    return 0


def _recipe(arguments: argparse.Namespace) -> "Recipe":
    from mola_core.training.recipes import recipe_named  # noqa: PLC0415
    from mola_core.training.recipes.changes import with_settings  # noqa: PLC0415

    return with_settings(recipe_named(arguments.recipe), arguments.set)


def _run_of(arguments: argparse.Namespace, recipe: "Recipe", **surroundings: Any) -> "Run":
    from mola_core.training.run import Run  # noqa: PLC0415

    return Run(
        recipe=recipe,
        folder=arguments.out or _RUNS / recipe.name,
        data=_data(arguments.data, recipe),
        skip_bad=arguments.skip_bad,
        base=arguments.base,
        take=tuple(part for part in arguments.take.split(",") if part),
        caches=arguments.caches,
        language_weights=arguments.language_weights,
        workers=arguments.workers,
        within_s=None if arguments.within is None else 60.0 * arguments.within,
        **surroundings,
    )


def _data(given: list[str], recipe: "Recipe") -> dict[str, Path]:
    """Name → place; a place without a name belongs to a recipe's only dataset."""
    names = list(dict.fromkeys(part.dataset for part in (*recipe.mixture, *(recipe.demonstrations or ()))))
    places: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals:
            if len(names) > 1:
                raise ConfigError(f"recipe {recipe.name} has datasets {', '.join(names)}; write --data NAME={text}")
            name, path = names[0], text
        if name not in names:
            raise ConfigError(f"recipe {recipe.name} has no dataset {name!r}; it has {', '.join(names)}")
        places[name] = Path(path)
    return places


def _recipes(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from mola_core.training.recipes import RECIPES, recipe_named  # noqa: PLC0415
    from mola_core.training.recipes.ablations import VARIANTS  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    if arguments.recipe is not None:
        console.print_json(recipe_named(arguments.recipe).model_dump_json())
        return 0
    for name, make in RECIPES.items():
        console.print(f"{name:<12} {make().summary}")
    console.print("\nwith a variant, as in twin.vpp-like:")
    for name, variant in VARIANTS.items():
        only = "" if variant.only is None else f", of {variant.only} alone"
        console.print(f"  .{name:<20} {variant.summary}{only}")
    return 0
