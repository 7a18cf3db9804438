"""Which bundle serves and which comes next: the services of a hot swap, and the wish that both halves follow."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from mola_interfaces.msg import EngineStatus, HalfStatus
from mola_interfaces.srv import ListEngines, LoadEngine, PromoteEngine, RollbackEngine
from std_srvs.srv import Trigger

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.site import load_site
from mola_core.runtime.halves import BundleShelf
from mola_core.runtime.slot import Wanted
from mola_core.runtime.swap import SwapManager
from mola_nodes import graph
from mola_nodes.bundles.manager import BundleManager, ProbeSettings, make_probe, problem_of
from mola_nodes.bundles.status import engine_status_message
from mola_nodes.conversions.bundles import report_from_message, wish_message
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param, SiteParams
from mola_nodes.process import Ending, run_node

_REPORT_S = 0.2
_MIB = 1 << 20


@dataclass(frozen=True)
class BundleManagerParams(SiteParams):
    """Parameters of the bundle manager."""

    models: Annotated[str, Param("Folder of bundles, <name>/<version>/")] = "models"
    bundle: Annotated[str, Param("Serves from the start, <name>/<version>; empty: none")] = ""
    probe_timeout_s: Annotated[float, Param("Longest trial of a bundle", unit="s", minimum=1, maximum=3600)] = 120.0
    late_ms: Annotated[float, Param("A slower bundle is refused", unit="ms", minimum=1, maximum=10_000)] = 400.0
    reserve_mb: Annotated[int, Param("Memory left free by a load", unit="MiB", minimum=0, maximum=1 << 20)] = 1024


class BundleManagerNode(MolaNode[BundleManagerParams]):
    """Wires the manager to its services and topics."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(graph.BUNDLE_MANAGER, params_type=BundleManagerParams, ending=ending)
        # counts on over restarts, so that a wish is never taken for an old one
        self._first_revision = self.system_clock.now_ns() // NS_PER_MS

    def configure(self, stack: ExitStack) -> None:
        """Read the site, open the services' topics, and see that the first bundle can serve."""
        site, root = Path(self.params.site), Path(self.params.models)
        self._wishes = self.open_publisher(graph.BUNDLE_WISH, stack)
        self._status = self.open_publisher(graph.ENGINE_STATUS, stack)
        self._diagnostics = self.open_publisher(graph.DIAGNOSTICS, stack)
        settings = ProbeSettings(
            site=site,
            root=root,
            timeout_s=self.params.probe_timeout_s,
            reserve_bytes=self.params.reserve_mb * _MIB,
            late_ms=self.params.late_ms,
        )
        self._halves: dict[str, HalfStatus] = {}
        self._logged = ""
        self._manager = BundleManager(
            shelf=BundleShelf(root, site=load_site(site)),
            probe=make_probe(settings),
            swap=SwapManager(first_revision=self._first_revision),
            on_wish=self._publish_wish,
        )
        if self.params.bundle:
            self._manager.begin(self.params.bundle)

    def activate(self, stack: ExitStack) -> None:
        """Listen to the halves and to people."""
        self.open_subscription(graph.HALF_STATUS, self._on_half, stack)
        self.open_unhurried_service(graph.LIST_ENGINES, self._on_list, stack)
        self.open_service(graph.LOAD_ENGINE, self._on_load, stack)
        self.open_service(graph.PROMOTE_ENGINE, self._on_promote, stack)
        self.open_service(graph.ROLLBACK_ENGINE, self._on_rollback, stack)
        self.open_service(graph.UNLOAD_ENGINES, self._on_unload, stack)
        self.open_timer(_REPORT_S, self._publish_status, stack)

    def _publish_wish(self, wanted: Wanted) -> None:
        self._wishes.publish(wish_message(wanted, stamp_ns=self.system_clock.now_ns()))
        self.get_logger().info(
            f"serves {wanted.active or 'nothing'}, staged {wanted.staged or 'nothing'}, "
            f"previous {wanted.previous or 'nothing'}"
        )

    def _on_half(self, message: HalfStatus) -> None:
        report = report_from_message(message)
        self._halves[message.half] = message
        self._manager.note(message.half, report)

    def _on_list(self, _request: ListEngines.Request, response: ListEngines.Response) -> ListEngines.Response:
        shelf = self._manager.shelf
        response.bundle_ids = list(shelf.names())
        found = [problem_of(shelf, bundle_id) for bundle_id in response.bundle_ids]
        response.runtimes = [runtimes for runtimes, _ in found]
        response.problems = [problem for _, problem in found]
        response.active_bundle = self._manager.swap.wish.active
        return response

    def _on_load(self, request: LoadEngine.Request, response: LoadEngine.Response) -> LoadEngine.Response:
        self._manager.load(request.bundle_id)
        response.success, response.message = True, "being tried and loaded; engine_status says when it is staged"
        return response

    def _on_promote(self, request: PromoteEngine.Request, response: PromoteEngine.Response) -> PromoteEngine.Response:
        self._manager.promote(request.bundle_id)
        response.success, response.message = True, f"{request.bundle_id} takes over at the next chunk"
        response.gap_ms = -1.0  # known after the next chunk: engine_status.last_swap_gap_ms
        return response

    def _on_rollback(
        self, request: RollbackEngine.Request, response: RollbackEngine.Response
    ) -> RollbackEngine.Response:
        response.bundle_id = self._manager.rollback(request.reason)
        response.success, response.message = True, self._manager.swap.reason
        return response

    def _on_unload(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        released = self._manager.unload()
        response.success, response.message = True, ", ".join(released)
        return response

    def _publish_status(self) -> None:
        self._log_reason()
        message: EngineStatus = engine_status_message(
            self._manager, halves=self._halves, stamp_ns=self.system_clock.now_ns()
        )
        self._status.publish(message)

    def _log_reason(self) -> None:
        reason = self._manager.swap.reason
        if reason and reason != self._logged:
            self.get_logger().error(reason)
        self._logged = reason


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(BundleManagerNode, urgent=False)
