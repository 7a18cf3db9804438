"""``mola model show``: modules, shapes, parameters and work of a recipe's model; nothing of it is allocated."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mola_core.cli.report import print_json

if TYPE_CHECKING:
    from mola_core.nets.survey import Survey
    from mola_core.training.recipe import Recipe


def register(subparsers: Any) -> None:
    """Add ``show``."""
    parser = subparsers.add_parser("show", help="modules, shapes, parameters and TFLOP of a recipe's model")
    parser.add_argument(
        "--recipe", default="twin", help="full, twin, twin-tiny, or a variant such as twin.vpp-like (twin)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.nets.survey import survey  # noqa: PLC0415  # help stays fast
    from mola_core.training.recipes import recipe_named  # noqa: PLC0415

    recipe = recipe_named(arguments.recipe)
    found = survey(recipe.model)
    if arguments.json:
        print_json(_document(recipe, found))
    else:
        _print(recipe, found)
    return 0


def _document(recipe: "Recipe", found: "Survey") -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "summary": recipe.summary,
        "parameters": found.parameters,
        "tflop": found.tflop,
        **asdict(found),
    }


def _print(recipe: "Recipe", found: "Survey") -> None:
    parts = Table("module", "class", "gives", title=f"{recipe.name}: {recipe.summary}", title_justify="left")
    parts.add_column("parameters", justify="right")
    for part in found.parts:
        parts.add_row(part.name, part.kind, part.gives, f"{part.parameters / 1e6:.2f} M")
    parts.add_section()
    parts.add_row("all", "", "", f"{found.parameters / 1e6:.2f} M")
    works = Table("step of one inference", "when")
    works.add_column("TFLOP", justify="right")
    for work in found.works:
        works.add_row(work.name, "always" if work.every_inference else "for people", f"{work.tflop:.3g}")
    works.add_section()
    works.add_row("one inference", "", f"{found.tflop:.3g}")
    console = Console()
    console.print(parts)
    console.print(works)
