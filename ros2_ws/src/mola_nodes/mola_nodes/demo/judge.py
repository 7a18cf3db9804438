"""Somebody who can see the twin's truth and calls a task done, as an operator does on a rig."""

import contextlib
import threading
from types import TracebackType
from typing import Self

from std_srvs.srv import Trigger

from mola_core.contracts.errors import MolaError
from mola_nodes import graph
from mola_nodes.demo.operator_client import OperatorClient
from mola_twin.world_client import WorldClient

_LOOK_S = 0.1


class TwinJudge:
    """Looks at the world while entered and tells a learned policy when its task is done."""

    def __init__(self, *, host: str, operator: OperatorClient) -> None:
        self._host = host
        self._operator = operator
        self.done = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="judge", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with WorldClient(self._host) as world:
            while not self._stop.wait(_LOOK_S):
                if not world.success().done:
                    continue
                self.done = True
                with contextlib.suppress(MolaError):  # the run has just ended for another reason
                    self._operator.call(graph.TASK_DONE, Trigger.Request())
                return
