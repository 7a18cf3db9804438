"""The staged bundle's actor beside the one in service, in a thread of its own that comes after everything that moves the arm."""

import threading
from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.observation import state_row
from mola_core.runtime.policy import PolicyAnswer
from mola_nodes.background import come_last
from mola_nodes.policy.learned import ActorHalf, PlannerParts, problem_of
from mola_nodes.policy.states import StateMissingError

_WAIT_S = 0.1
_ANSWER_NS = NS_PER_S // 4
_LOOK_S = 0.02


class ActorShadow:
    """Answers what the bundle in service has answered, while entered; its errors concern only itself."""

    def __init__(self, parts: PlannerParts) -> None:
        self._parts = parts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        come_last()
        while not self._stop.is_set():
            if self._parts.foresights.wait_shadow(_WAIT_S):
                self.follow()

    def follow(self) -> None:
        """Answer the newest foresight of the staged bundle, if the one in service answers what was seen then."""
        foresight = self._parts.foresights.take_shadow()
        served = None if foresight is None else self._served(foresight)
        half = None if foresight is None else self._parts.slot.get(foresight.bundle_id)
        if foresight is None or served is None or half is None:
            return
        try:
            state = self._parts.states.at(foresight.stamp_ns)
            self._parts.before_answer(half)
            answer = half.actor.act(foresight, state=state_row(state), noise_seed=foresight.noise_seed)
            problem = problem_of(answer)
        except StateMissingError:
            return
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
            if self._stop.wait(_LOOK_S) or self._parts.clock.monotonic_ns() > deadline_ns:
                return None
        return served

    def _give_up(self, half: ActorHalf, problem: str) -> None:
        """Unless it has only been retired meanwhile."""
        if half.bundle_id in self._parts.slot.wanted().bundles:
            self._parts.slot.fail(half.bundle_id, f"in the shadow: {problem}")
