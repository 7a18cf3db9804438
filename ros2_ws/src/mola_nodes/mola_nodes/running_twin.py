"""The whole graph on the twin, started from Python: for the demo and the table of faults."""

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from mola_core.contracts.errors import ConfigError
from mola_core.launching import LaunchPlan, Supervisor, expand
from mola_core.launching.command import launch_file_of
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.environment import isolate_graph

DEFAULT_HOST = "127.0.0.2"
_WORLD_PORT = 30151
_UP_S = 90.0


class RunningTwin:
    """Brings up ``twin.launch.xml`` on entering, with an operator beside it, and takes it down on leaving.

    What the processes print goes to ``log_path``.

    Raises:
        ConfigError: another twin already answers on the host.
        MolaError: the graph did not come up; names what is missing.
    """

    def __init__(self, *, log_path: Path, host: str = DEFAULT_HOST, arguments: Mapping[str, str] | None = None) -> None:
        self.host = host
        self._log_path = log_path
        self._arguments = {"host": host, **(arguments or {})}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        _refuse_second_twin(self.host)
        isolate_graph()
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            log = stack.enter_context(self._log_path.open("w", encoding="utf-8", buffering=1))
            self.supervisor = stack.enter_context(Supervisor(_plan(self._arguments), emit=_writer(log)))
            self.operator = stack.enter_context(OperatorClient())
            self.operator.wait_active(timeout_s=_UP_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _writer(log: TextIO) -> Callable[[str, str], None]:
    def write(stream: str, line: str) -> None:
        del stream
        log.write(f"{line}\n")

    return write


def _plan(arguments: Mapping[str, str]) -> LaunchPlan:
    return expand(launch_file_of("mola_bringup", "twin.launch.xml"), arguments)


def _refuse_second_twin(host: str) -> None:
    try:
        socket.create_connection((host, _WORLD_PORT), timeout=0.5).close()
    except OSError:
        return
    raise ConfigError(f"a twin already answers on {host}; stop it, or choose another loopback address with --host")
