"""A launch file brought up from Python, with an operator beside it."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from mola_core.launching import Supervisor, expand
from mola_core.launching.command import launch_file_of
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.environment import isolate_graph

_UP_S = 90.0


class RunningGraph:
    """Brings up ``launch_file`` of mola_bringup on entering and takes it down on leaving; what it prints goes to ``log_path``.

    Raises:
        MolaError: the graph did not come up; names what is missing.
    """

    def __init__(self, launch_file: str, *, arguments: Mapping[str, str], log_path: Path) -> None:
        self._launch_file = launch_file
        self._arguments = dict(arguments)
        self._log_path = log_path
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        isolate_graph()
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        plan = expand(launch_file_of("mola_bringup", self._launch_file), self._arguments)
        with ExitStack() as stack:
            log = stack.enter_context(self._log_path.open("w", encoding="utf-8", buffering=1))
            self.supervisor = stack.enter_context(Supervisor(plan, emit=lambda _stream, line: print(line, file=log)))
            self.operator = stack.enter_context(OperatorClient())
            self.operator.wait_active(timeout_s=_UP_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
