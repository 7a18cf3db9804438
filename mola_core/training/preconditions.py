"""What all stages of a call will need of the data, looked for before the first of them begins."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_core.data.labels.store import LabelFolder, teachers_of
from mola_core.data.opening import open_episodes
from mola_core.training.cell_reader import asked_of_cells
from mola_core.training.recipe import MixturePart, Recipe
from mola_core.training.stage2_idm import wanted_labels


def require_data(recipe: Recipe, stages: Sequence[str], *, data: Mapping[str, Path]) -> None:
    """Refuse data that a later stage could not use, while nothing has been spent.

    Raises:
        ConfigError: a dataset whose place has not been said.
        ContractMismatchError: demonstrations made under another contract.
        DataError: no dataset at a place, or labels that a stage needs are not there.
    """
    demonstrations = recipe.demonstrations or recipe.mixture
    early = [stage for stage in stages if stage != "policy"]
    needed = [*(recipe.mixture if early else ()), *(demonstrations if "policy" in stages else ())]
    missing = [name for name in dict.fromkeys(part.dataset for part in needed) if name not in data]
    if missing:
        raise ConfigError(
            f"recipe {recipe.name} needs the datasets {', '.join(missing)}; say where they lie: "
            f"{' '.join(f'--data {name}=PATH' for name in missing)}"
        )
    if "policy" in stages:
        for part in demonstrations:
            contract = open_episodes(data[part.dataset], name=part.dataset).contract
            contract.require(recipe.io.contract, what=f"dataset {data[part.dataset]}", where=f"recipe {recipe.name}")
            asked = tuple(asked_of_cells(recipe.policy))
            if asked:
                _require_labels(part, asked, path=data[part.dataset])
    if "idm" in stages and recipe.model.mixture is not None:
        for part in recipe.mixture:
            _require_labels(part, wanted_labels(recipe.model.mixture), path=data[part.dataset])


def _require_labels(part: MixturePart, labels: Sequence[str], *, path: Path) -> None:
    open_episodes(path, name=part.dataset)
    teachers = teachers_of(path, labels) if part.teachers is None else part.teachers
    for label in labels:
        if label not in teachers:
            raise ConfigError(f"dataset {part.dataset} names no teacher of {label}; say it in its teachers")
        LabelFolder(path, teacher=teachers[label]).info()
