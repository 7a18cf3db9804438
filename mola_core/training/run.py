"""One recipe's training on disk: its settings, its folder, and which stages have been done there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_core.training.distributed import World
from mola_core.training.progress import Reporter
from mola_core.training.recipe import Recipe
from mola_core.training.recipes.differences import differences
from mola_core.training.retention import FINAL
from mola_core.training.stopping import StopRequest

RECIPE_FILE = "recipe.json"


@dataclass(frozen=True)
class Run:
    """One recipe's training on disk and on this machine."""

    recipe: Recipe
    folder: Path
    data: Mapping[str, Path]
    """Where the recipe's datasets lie."""
    world: World
    reporter: Reporter
    stop: StopRequest
    base: Path | None = None
    """A checkpoint that stands for earlier stages which this call does not run, and that stage I and III go on from where it has
    reached them with the same networks."""
    take: tuple[str, ...] = ()
    """Parts of the model (``visual`` for instance) that stage III begins with as ``base``'s policy has them; the rest of what it
    trains begins anew, whatever the base is. What ablations need that are to differ in one thing."""
    caches: Path | None = None
    """Where caches lie; None: in the run's folder."""
    language_weights: Path | None = None
    skip_bad: bool = False
    """Leave out, and name, the bad files of foreign datasets."""
    workers: int = 0
    within_s: float | None = None
    """End each stage after so long; see :class:`~mola_core.training.loop.Surroundings`."""


def is_done(run: Run, stage: str) -> bool:
    """Whether ``stage`` has reached its end in the run's folder."""
    return (run.folder / stage / FINAL / "checkpoint.json").is_file()


def claim(run: Run) -> None:
    """Write the recipe beside what it makes, or compare with the one that is there.

    Raises:
        ConfigError: the folder belongs to another recipe.
    """
    file = run.folder / RECIPE_FILE
    said = run.recipe.model_dump(mode="json")
    if file.is_file():
        there = json.loads(file.read_text(encoding="utf-8"))
        differing = differences(there, said)
        if differing:
            raise ConfigError(
                f"{run.folder} belongs to another recipe: {'; '.join(differing[:3])}; choose another --out, or take the settings back"
            )
        return
    run.world.wait()
    if run.world.is_main:
        run.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(said, indent=2), encoding="utf-8")
    run.world.wait()
