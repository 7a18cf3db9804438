"""What is to be run: processes with every choice made, before anything is started."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mola_core.launching.errors import Location


@dataclass(frozen=True, slots=True)
class ParameterText:
    """The content of a ROS parameter file that exists only while its process may run."""

    content: str


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: its command line, its environment, and what happens when it ends."""

    name: str
    """How code finds it: the ROS node's name, else the executable's; the label where that is not unique."""
    label: str
    """What its output lines begin with: the name that ``ros2 launch`` gives it, ``<executable>-<number>``."""
    where: Location
    argv: tuple[str | ParameterText, ...]
    environment: Mapping[str, str]
    """Complete."""
    cwd: Path | None
    respawn: bool
    respawn_delay_s: float
    required: bool
    """Its end is the end of all."""

    def command(self, directory: Path) -> list[str]:
        """The command line, with parameter files written under ``directory``."""
        arguments = []
        for index, argument in enumerate(self.argv):
            if isinstance(argument, ParameterText):
                path = directory / f"{self.label}-{index}.yaml"
                path.write_text(argument.content, encoding="utf-8")
                arguments.append(str(path))
            else:
                arguments.append(argument)
        return arguments

    def shown(self) -> str:
        """The command line for people, parameter files spelt out."""
        return shlex.join(part.content if isinstance(part, ParameterText) else part for part in self.argv)


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """The processes of a launch file, in the order in which they start."""

    processes: tuple[ProcessSpec, ...]
