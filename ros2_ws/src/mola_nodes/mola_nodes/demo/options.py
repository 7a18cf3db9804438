"""What ``mola demo`` was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_nodes.running_twin import DEFAULT_HOST
from mola_twin.tasks.instructions import TASKS

SCRIPTED, MOLA = "scripted", "mola"
TIME_LIMIT_S = 600.0
SHORTEST_S = 150.0
TAKING_DOWN_S = 90.0
"""Of the time limit: what taking the graph down may cost where every process of it has to be killed."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """One demo."""

    out: Path
    tasks: Sequence[str]
    seed: int
    host: str = DEFAULT_HOST
    fps: int | None = None
    """Of the cameras; None: the site's, or fewer where the machine does not keep up with that."""
    policy: str = MOLA
    models: Path = Path("models")
    bundles: tuple[str, ...] = ()
    """Of the learned policy: the one that serves, and one that takes over in the middle of a task."""
    time_limit_s: float = TIME_LIMIT_S
    """For all of it, the graph's coming and going included."""

    @property
    def log(self) -> Path:
        """What the graph prints."""
        return self.out / "graph.log"

    @property
    def video(self) -> Path:
        """What the cameras see."""
        return self.out / "demo.mp4"


def chosen_tasks(names: Sequence[str]) -> tuple[str, ...]:
    """The tasks meant by ``names``; all of them by none.

    Raises:
        ConfigError: an unknown task.
    """
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise ConfigError(f"task {unknown[0]!r} is not known; choose from {', '.join(TASKS)}")
    return tuple(names) or tuple(TASKS)
