"""Parameters of the learned policy."""

from dataclasses import dataclass
from typing import Annotated

from mola_core.contracts.errors import ConfigError
from mola_core.runtime.planning import ExecutionMode
from mola_nodes.params import Param, SiteParams
from mola_nodes.policy.modalities import ALL


@dataclass(frozen=True)
class PolicyParams(SiteParams):
    """Parameters of the learned policy."""

    models: Annotated[str, Param("Folder of bundles, <name>/<version>/")] = "models"
    threads: Annotated[int, Param("Threads of each CPU engine; 0: the runtime's choice", minimum=0, maximum=64)] = 1
    mode: Annotated[str, Param("whole, receding or realtime: how much of a chunk is executed")] = "receding"
    late_ms: Annotated[
        float,
        Param("A bundle slower than this, several times in a row, is taken out", unit="ms", minimum=1, maximum=10_000),
    ] = 400.0
    modalities: Annotated[str, Param("Modalities in use, comma-separated; all, none", live=True)] = ALL


def mode_of(name: str) -> ExecutionMode:
    """The mode of this name.

    Raises:
        ConfigError: there is none.
    """
    modes = [mode.value for mode in ExecutionMode]
    if name not in modes:
        raise ConfigError(f"parameter 'mode' must be one of {', '.join(modes)}, got {name!r}")
    return ExecutionMode(name)
