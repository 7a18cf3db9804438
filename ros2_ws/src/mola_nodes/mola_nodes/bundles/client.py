"""Bundles as a person sees them: listed, loaded, promoted and rolled back on a running graph."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mola_interfaces.msg import EngineStatus, HalfStatus
from mola_interfaces.srv import ListEngines, LoadEngine, PromoteEngine, RollbackEngine
from std_srvs.srv import Trigger

from mola_core.contracts.errors import MolaError
from mola_core.runtime.swap import HALVES
from mola_nodes import graph
from mola_nodes.demo.operator_client import OperatorClient

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class ListedBundle:
    """One bundle of the machine that the graph runs on."""

    bundle_id: str
    runtimes: str
    problem: str
    """Why it cannot be served there; empty when it can."""
    active: bool


class BundleClient:
    """Speaks to the bundle manager through an operator's node."""

    def __init__(self, operator: OperatorClient) -> None:
        self._operator = operator
        self.status: EngineStatus | None = None
        self._halves: dict[str, HalfStatus] | None = None
        operator.subscribe(graph.ENGINE_STATUS, self._on_status)

    def _on_status(self, message: EngineStatus) -> None:
        self.status = message

    def bundles(self) -> list[ListedBundle]:
        """All bundles of the models folder."""
        answer = self._operator.call(graph.LIST_ENGINES, ListEngines.Request(), timeout_s=60.0)
        rows = zip(answer.bundle_ids, answer.runtimes, answer.problems, strict=True)
        return [
            ListedBundle(bundle_id, runtimes, problem, active=bundle_id == answer.active_bundle)
            for bundle_id, runtimes, problem in rows
        ]

    def load(self, bundle_id: str, *, timeout_s: float = 180.0) -> None:
        """Stage a bundle and wait until it is warm in both halves.

        Raises:
            MolaError: it is refused; the one in service goes on serving.
        """
        _require(self._operator.call(graph.LOAD_ENGINE, LoadEngine.Request(bundle_id=bundle_id), timeout_s=30.0))

        def staged(status: EngineStatus) -> bool:
            if status.state == EngineStatus.FAILED or (status.reason and not status.staged_bundle):
                raise MolaError(f"{bundle_id} was not staged: {status.reason}; {_serving(status)}")
            return bool(status.state == EngineStatus.STAGED and status.staged_bundle == bundle_id)

        self._wait(staged, f"{bundle_id} to be staged", timeout_s=timeout_s, fresh=True)

    def promote(self, bundle_id: str, *, timeout_s: float = 10.0) -> float:
        """Let the staged bundle take over and wait until it serves; the gap of the last swap measured so far, ms (negative: none).

        Raises:
            MolaError: it is not staged.
        """
        request = PromoteEngine.Request(bundle_id=bundle_id)
        _require(self._operator.call(graph.PROMOTE_ENGINE, request, timeout_s=10.0))
        status = self._wait(
            lambda status: bool(status.active_bundle == bundle_id),
            f"{bundle_id} to serve",
            timeout_s=timeout_s,
            fresh=True,
        )
        return float(status.last_swap_gap_ms)

    def wait_gap(self, *, timeout_s: float) -> float:
        """What the last swap added to the cadence of the answers, ms; MolaError if no swap is reported in time."""
        status = self._wait(lambda status: bool(status.last_swap_gap_ms >= 0), "the gap of a swap", timeout_s=timeout_s)
        return float(status.last_swap_gap_ms)

    def rollback(self, reason: str) -> str:
        """Bring back the bundle that served before; its id.

        Raises:
            MolaError: there is none.
        """
        answer = self._operator.call(graph.ROLLBACK_ENGINE, RollbackEngine.Request(reason=reason), timeout_s=10.0)
        _require(answer)
        return str(answer.bundle_id)

    def unload(self, *, timeout_s: float = 10.0) -> tuple[str, ...]:
        """Have both halves let go of every bundle that does not serve; their ids, once nobody uses them any more.

        Raises:
            MolaError: one is being tried, or a half does not let go in time.
        """
        halves = self._hear_halves()
        answer = self._operator.call(graph.UNLOAD_ENGINES, Trigger.Request(), timeout_s=10.0)
        _require(answer)
        halves.clear()
        self._operator.wait_for(
            lambda: all(half in halves and list(halves[half].ready) == [halves[half].serving] for half in HALVES),
            "both halves to let go of what does not serve",
            timeout_s=timeout_s,
        )
        return tuple(answer.message.split(", ")) if answer.message else ()

    def wait_serving(self, bundle_id: str, *, timeout_s: float = 60.0) -> None:
        """Until the bundle is in service in both halves; MolaError if it is not in time."""
        self._wait(lambda status: bool(status.active_bundle == bundle_id), f"{bundle_id} to serve", timeout_s=timeout_s)

    def _hear_halves(self) -> dict[str, HalfStatus]:
        """The newest word of each half from now on; nobody pays for hearing them before it is asked for."""
        if self._halves is None:
            self._halves = halves = {}
            self._operator.subscribe(graph.HALF_STATUS, lambda message: halves.update({message.half: message}))
        return self._halves

    def _wait(
        self, condition: Callable[[EngineStatus], bool], what: str, *, timeout_s: float, fresh: bool = False
    ) -> EngineStatus:
        if fresh:  # what was said before the request does not count
            self.status = None
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status
            if status is not None and condition(status):
                return status
            if time.monotonic() > deadline:
                reason = "the bundle manager says nothing" if status is None else status.reason or _serving(status)
                raise MolaError(f"gave up waiting for {what}: {reason}")
            time.sleep(_POLL_S)


def _require(
    answer: LoadEngine.Response | PromoteEngine.Response | RollbackEngine.Response | Trigger.Response,
) -> None:
    if not answer.success:
        raise MolaError(answer.message)


def _serving(status: EngineStatus) -> str:
    return f"{status.active_bundle or 'nothing'} serves"
