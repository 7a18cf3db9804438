"""The whole graph on the twin, started from Python: for the demo and the table of faults."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from ament_index_python.packages import get_package_share_directory

from mola_core.contracts.errors import ConfigError
from mola_nodes.running_graph import RunningGraph
from mola_twin.moved_site import site_at

DEFAULT_HOST = "127.0.0.2"
_WORLD_PORT = 30151


class RunningTwin(RunningGraph):
    """Brings up ``twin.launch.xml`` on entering, with an operator beside it, and takes it down on leaving.

    What the processes print goes to ``log_path``. At another address than the shipped site's, or with another camera rate, and without
    a site of its own, the shipped one is changed so, beside the log.

    Raises:
        ConfigError: another twin already answers on the host.
        MolaError: the graph did not come up; names what is missing.
    """

    def __init__(
        self,
        *,
        log_path: Path,
        host: str = DEFAULT_HOST,
        fps: int | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("twin.launch.xml", arguments={"host": host, **(arguments or {})}, log_path=log_path)
        self.host, self._fps = host, fps

    @property
    def site(self) -> Path:
        """The site file that the graph runs on."""
        return Path(self._arguments["site"]) if "site" in self._arguments else _shipped_site()

    def __enter__(self) -> Self:
        _refuse_second_twin(self.host)
        if (self.host != DEFAULT_HOST or self._fps is not None) and "site" not in self._arguments:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            site = self._log_path.parent.resolve() / "site.yaml"
            site.write_text(site_at(_shipped_site(), host=self.host, fps=self._fps), encoding="utf-8")
            self._arguments["site"] = str(site)
        return super().__enter__()


def _shipped_site() -> Path:
    return Path(get_package_share_directory("mola_bringup")) / "sites" / "twin.yaml"


def _refuse_second_twin(host: str) -> None:
    try:
        socket.create_connection((host, _WORLD_PORT), timeout=0.5).close()
    except OSError:
        return
    raise ConfigError(f"a twin already answers on {host}; stop it, or choose another loopback address with --host")
