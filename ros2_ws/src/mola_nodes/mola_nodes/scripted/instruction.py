"""From a sentence to the task of the twin that it means."""

import re

from mola_core.contracts.errors import ConfigError
from mola_twin.tasks.instructions import TASKS, TaskSpec


def task_of_instruction(instruction: str) -> TaskSpec:
    """The task of which ``instruction`` is one of the phrasings; case and surrounding space do not matter.

    Raises:
        ConfigError: none; names one phrasing of each task.
    """
    wanted = " ".join(instruction.lower().split()).rstrip(".!")
    for spec in TASKS.values():
        if any(_pattern(phrasing).fullmatch(wanted) for phrasing in (*spec.train, *spec.held_out)):
            return spec
    known = "; ".join(_example(spec) for spec in TASKS.values())
    raise ConfigError(f"the scripted policy does not understand {instruction!r}; it knows e.g.: {known}")


def _pattern(phrasing: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", r"\\w+", re.escape(phrasing)))


def _example(spec: TaskSpec) -> str:
    return spec.train[0].format(top="red", bottom="green")
