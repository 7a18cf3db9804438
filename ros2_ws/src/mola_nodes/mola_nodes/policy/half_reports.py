"""What each half of the policy tells the bundle manager and the dashboards, and how it hears what is wanted."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mola_interfaces.msg import BundleWish

from mola_core.contracts.clock import Clock
from mola_core.runtime.slot import EngineSlot
from mola_nodes import graph
from mola_nodes.conversions.bundles import half_status_message, wanted_from_message
from mola_nodes.diagnostics import diagnostic_array, half_diagnostic
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.tally import RunTally

_REPORT_S = 0.1
NO_SHADOW = (0, -1.0)


class HalfReports:
    """Connects a slot with the bundle manager while the stack is open; belongs to the executor's thread."""

    def __init__(
        self,
        node: MolaNode[Any],
        half: str,
        *,
        slot: EngineSlot[Any],
        runs: RunTally,
        idle: Callable[[], bool],
        stack: ExitStack,
        shadow: Callable[[], tuple[int, float]] = lambda: NO_SHADOW,
    ) -> None:
        """``idle`` says that nobody infers now, so that what was retired may be released."""
        self._half = half
        self._slot = slot
        self._runs = runs
        self._idle = idle
        self._shadow = shadow
        self._clock: Clock = node.system_clock
        self._status = node.open_publisher(graph.HALF_STATUS, stack)
        self._diagnostics = node.open_publisher(graph.DIAGNOSTICS, stack)
        node.open_subscription(graph.BUNDLE_WISH, self._on_wish, stack)
        node.open_timer(_REPORT_S, self._report, stack)
        node.open_timer(1.0, self._diagnose, stack)

    def _on_wish(self, message: BundleWish) -> None:
        self._slot.want(wanted_from_message(message))
        self._report()

    def _report(self) -> None:
        if self._idle():
            self._slot.active()
        self._status.publish(
            half_status_message(
                self._half,
                self._slot.report(),
                figures=self._runs.figures(),
                shadow=self._shadow(),
                stamp_ns=self._clock.now_ns(),
            )
        )

    def _diagnose(self) -> None:
        status = half_diagnostic(self._half, self._slot.report(), self._runs.figures())
        self._diagnostics.publish(diagnostic_array(status, stamp_ns=self._clock.now_ns()))
