"""From a file to a running engine: each runner registers itself under the entry point group ``mola.runners``.

That is how a runner that needs torch can exist beside a runtime that must not: nobody here imports it before a bundle asks for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from mola_core.runtime.engines.protocol import Engine, EngineError

RUNNER_GROUP = "mola.runners"


@dataclass(frozen=True)
class EngineSource:
    """What to load and where to run it."""

    name: str
    """The stage, for messages."""
    path: Path
    device: str
    """``cpu`` or ``cuda``."""
    threads: int = 0
    """Of a CPU runner; 0 leaves the choice to the runtime."""
    background: bool = False
    """Of a GPU runner: everything else on the card comes first, since nobody on whom the arm depends waits for it."""


Loader = Callable[[EngineSource], Engine]


def runner_names() -> list[str]:
    """Of all registered runners, whether or not their runtime is installed."""
    return sorted({entry.name for entry in entry_points(group=RUNNER_GROUP)})


def load_engine(runtime: str, source: EngineSource) -> Engine:
    """Load, but do not warm.

    Raises:
        EngineError: no such runner, its runtime is not installed, or the file does not load.
    """
    found = [entry for entry in entry_points(group=RUNNER_GROUP) if entry.name == runtime]
    if not found:
        raise EngineError(f"runtime {runtime!r} is not known; there are {', '.join(runner_names()) or 'none'}")
    try:
        loader: Loader = found[0].load()
    except ImportError as error:
        raise EngineError(f"engine {source.name} needs {runtime}, which does not load here: {error}") from error
    return loader(source)
