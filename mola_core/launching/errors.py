"""What a launch file, its arguments or its processes can do wrong."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import ConfigError, MolaError


@dataclass(frozen=True, slots=True)
class Location:
    """A line of a launch file."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class LaunchFileError(ConfigError):
    """A launch file says something that this runner does not know, or that cannot be meant."""

    def __init__(self, where: Location, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


class LaunchArgumentError(ConfigError):
    """An argument given to a launch file is unknown, missing, or not one of its choices."""


class ProcessError(MolaError):
    """A process cannot be started, found, or did not do in time what was waited for."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error's sentence: the likeliest meaning of ``name`` if there is one, then all that is known."""
    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"did you mean {matches[0]!r}? " if matches else ""
    return f"{guess}known: {', '.join(names) or 'none'}"
