"""The staged bundle's actor beside the one in service, in a thread of its own that comes after everything that moves the arm."""

from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.observation import state_row
from mola_core.runtime.policy import PolicyAnswer
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.policy.learned import ActorHalf, PlannerParts, problem_of
from mola_nodes.policy.states import StateMissingError
from mola_nodes.turns import Troubles, TurnThread

_WAIT_S = 0.1
_ANSWER_NS = NS_PER_S // 4
_LOOK_S = 0.02
_PATIENCE_S = 20.0
"""What runs on what the others leave may take long; what takes longer than this does not come back."""


class ActorShadow:
    """Answers what the bundle in service has answered, while entered; its errors concern only itself."""

    def __init__(self, parts: PlannerParts, *, troubles: Troubles, patience_s: float = _PATIENCE_S) -> None:
        """A staged bundle that takes longer than ``patience_s`` for an answer is given up."""
        self._parts = parts
        self._patience_s = patience_s
        self._calls = BoundedCalls[PolicyAnswer]("shadow")
        self._thread = TurnThread(self._wait_and_follow, name="shadow", troubles=troubles, background=True)

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)
        self._calls.__exit__(kind, error, trace)

    def _wait_and_follow(self) -> None:
        if self._parts.foresights.wait_shadow(_WAIT_S):
            self.follow()

    def follow(self) -> None:
        """Answer the newest foresight of the staged bundle, if the one in service answers what was seen then.

        Raises:
            RuntimeInputError: the rig does not say what a policy has to know; no bundle is to blame.
        """
        foresight = self._parts.foresights.take_shadow()
        served = None if foresight is None else self._served(foresight)
        half = None if foresight is None else self._parts.slot.get(foresight.bundle_id)
        if foresight is None or served is None or half is None:
            return
        try:
            row = state_row(self._parts.states.at(foresight.stamp_ns))
        except StateMissingError:
            return
        try:
            self._parts.before_answer(half)
            answer = self._calls.call(
                lambda: half.actor.act(foresight, state=row, noise_seed=foresight.noise_seed), limit_s=self._patience_s
            )
            problem = problem_of(answer)
        except (MolaError, RuntimeError) as error:
            answer, problem = None, str(error)
        if answer is None or problem:
            self._give_up(half, problem)
        else:
            self._parts.shadow.compare(half.bundle_id, answer, served)

    def _served(self, foresight: Foresight) -> PolicyAnswer | None:
        """What the bundle in service answers; it may still be at it."""
        deadline_ns = self._parts.clock.monotonic_ns() + _ANSWER_NS
        while (served := self._parts.shadow.served(foresight.stamp_ns)) is None:
            if self._thread.stopping.wait(_LOOK_S) or self._parts.clock.monotonic_ns() > deadline_ns:
                return None
        return served

    def _give_up(self, half: ActorHalf, problem: str) -> None:
        """Unless it has only been retired meanwhile."""
        if half.bundle_id in self._parts.slot.wanted().bundles:
            self._parts.slot.fail(half.bundle_id, f"in the shadow: {problem}")
