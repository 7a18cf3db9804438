"""The learned policy: an action server that turns foresights and robot states into action chunks."""

import itertools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from std_srvs.srv import Trigger

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import load_site
from mola_core.runtime.halves import BundleShelf, LoadedActor
from mola_core.runtime.slot import EngineSlot
from mola_nodes import graph
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.lifecycle import MolaNode
from mola_nodes.policy.foresights import NewestForesights
from mola_nodes.policy.half_reports import HalfReports
from mola_nodes.policy.learned import LearnedPlanner, PlannerParts
from mola_nodes.policy.modalities import ModalitySwitch
from mola_nodes.policy.outputs import PolicyOutputs
from mola_nodes.policy.params import PolicyParams, mode_of
from mola_nodes.policy.rollout import Rollout
from mola_nodes.policy.server import PolicyServer
from mola_nodes.policy.shadow import ShadowTally
from mola_nodes.policy.shadowing import ActorShadow
from mola_nodes.policy.subscriptions import PolicySubscriptions
from mola_nodes.policy.tally import RunTally
from mola_nodes.policy.thinking import ThinkingPlanner
from mola_nodes.process import Ending, run_node

HALF = "actor"
SOURCE = "mola"


class PolicyNode(MolaNode[PolicyParams]):
    """Wires inputs, slot, planner, outputs and the action server."""

    def __init__(self, ending: Ending, *, foresights: NewestForesights | None = None) -> None:
        """``foresights`` are filled by an imagination in this process; without them they come over the graph."""
        super().__init__(graph.POLICY, params_type=PolicyParams, ending=ending)
        self._local = foresights
        # counts on over restarts of this node, so that its chunks are never taken for old ones
        self._sequence = itertools.count(self.system_clock.now_ns() // NS_PER_MS)
        self._task_done = threading.Event()

    def configure(self, stack: ExitStack) -> None:
        """Read the site and open what the policy says."""
        self._mode = mode_of(self.params.mode)
        self._site = load_site(Path(self.params.site))
        shelf = BundleShelf(Path(self.params.models), site=self._site, threads=self.params.threads)
        self._slot = stack.enter_context(EngineSlot[LoadedActor](shelf.actor))
        self._modalities = ModalitySwitch(
            self, known=self._known_modalities, initial=self.params.modalities, stack=stack
        )
        self._outputs = PolicyOutputs(self, modalities=self._modalities, stack=stack)

    def activate(self, stack: ExitStack) -> None:
        """Look at everything and take goals."""
        self._inputs = PolicySubscriptions(
            self,
            roles=self._site.cameras,
            lost_after_ms=2 * self._site.safety.stale_ms,
            local=self._local,
            stack=stack,
        )
        runs, shadow = RunTally(), ShadowTally()
        self._parts = PlannerParts(
            slot=self._slot,
            foresights=self._inputs.foresights,
            states=self._inputs.states,
            runs=runs,
            shadow=shadow,
            calls=stack.enter_context(BoundedCalls("actor")),
            before_answer=lambda half: self._modalities.apply(half.actor),
            on_answer=self._outputs.show_answer,
            on_divergence=self._outputs.show_divergence,
            ask=self._outputs.ask,
            clock=self.system_clock,
        )
        stack.enter_context(ActorShadow(self._parts, troubles=self.troubles("shadow")))
        self.open_service(graph.TASK_DONE, self._on_task_done, stack)
        self._server = PolicyServer(self, check=_require_words, run_goal=self._run_goal, stack=stack)
        self.open_timer(1.0, self._diagnose, stack)
        HalfReports(
            self,
            HALF,
            slot=self._slot,
            runs=runs,
            idle=lambda: not self._server.busy,
            stack=stack,
            shadow=lambda: shadow.figures,
        )

    def _on_task_done(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._server.busy
        response.message = "the run ends as a success" if response.success else "no task is running"
        self._task_done.set()
        return response

    def _run_goal(self, instruction: str, drive: Callable[[Rollout], None]) -> None:
        self._task_done.clear()
        planner = LearnedPlanner(
            self._parts,
            instruction=instruction,
            mode=self._mode,
            safety=self._site.safety,
            done=self._task_done.is_set,
            late_ms=self.params.late_ms,
        )
        newest, foresights = self._inputs.newest, self._inputs.foresights
        foresights.forget()
        self._outputs.announce(instruction)
        try:
            with ThinkingPlanner(planner, wait=planner.wait, wake=newest.nudge) as thinking:
                drive(
                    Rollout(
                        source=SOURCE,
                        planner=thinking,
                        inputs=newest,
                        send=self._outputs.send,
                        next_sequence=self._sequence.__next__,
                        clock=self.system_clock,
                    )
                )
        finally:
            self._outputs.announce("")
            self._parts.runs.pause()

    def _known_modalities(self) -> tuple[str, ...]:
        half = self._slot.get(self._slot.report().serving)
        return () if half is None else half.actor.modalities

    def _diagnose(self) -> None:
        self._outputs.diagnose(self._inputs.newest.missing(), busy=self._server.busy)


def _require_words(instruction: str) -> None:
    if not instruction.strip():
        raise ConfigError("the instruction is empty; say what is to be done, e.g. 'open the drawer'")


def main() -> NoReturn:
    """Entry point of the executable."""
    run_node(PolicyNode)
