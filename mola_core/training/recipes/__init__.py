"""Recipes by name: functions that return a frozen :class:`~mola_core.training.recipe.Recipe`, one deriving from another."""

import difflib
from collections.abc import Callable

from mola_core.contracts.errors import ConfigError
from mola_core.training.recipe import Recipe
from mola_core.training.recipes.ablations import VARIANTS
from mola_core.training.recipes.changes import changed
from mola_core.training.recipes.full import full
from mola_core.training.recipes.twin import twin
from mola_core.training.recipes.twin_tiny import twin_tiny

RECIPES: dict[str, Callable[[], Recipe]] = {"full": full, "twin": twin, "twin-tiny": twin_tiny}


def recipe_names() -> list[str]:
    """Every name that :func:`recipe_named` knows."""
    variants = [
        f"{recipe}.{name}" for recipe in RECIPES for name, variant in VARIANTS.items() if variant.applies_to(recipe)
    ]
    return [*RECIPES, *variants]


def recipe_named(name: str) -> Recipe:
    """``twin``, or with a variant of it, ``twin.vpp-like``.

    Raises:
        ConfigError: no such recipe; the nearest name is suggested.
    """
    base, _, variant = name.partition(".")
    if name not in recipe_names():
        nearest = difflib.get_close_matches(name, recipe_names(), n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"choose from {', '.join(RECIPES)}"
        raise ConfigError(f"there is no recipe {name!r}; {hint}")
    recipe = RECIPES[base]()
    return changed(VARIANTS[variant].change(recipe), name=name) if variant else recipe
