"""Who decides what the arm does in a rollout: a policy, the rig's own scripted one, or nobody."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.rig import EpisodeStart, LockstepRig, RigView
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.evaluation.errors import EvaluationError
from mola_core.runtime.observation import state_row, views_of
from mola_core.runtime.planning import settled_rows
from mola_core.runtime.policy import Policy, PolicyAnswer, PolicyObservation

SCRIPTED_PERIOD_NS = NS_PER_S // 10
"""How often the scripted policy is asked."""


@dataclass(frozen=True)
class Decision:
    """A chunk to execute and, where a policy made it, its own answer."""

    chunk: ActionChunk
    answer: PolicyAnswer | None = None


class ChunkSource(Protocol):
    """Asked again whenever ``execute_ns`` of its last chunk has passed."""

    execute_ns: int
    wants_views: bool

    def begin(self, start: EpisodeStart, /) -> None:
        """An episode begins."""
        ...

    def decide(self, rig: LockstepRig, view: RigView | None, /) -> Decision | None:
        """What to do from now on; None keeps the arm where it is."""
        ...


class ScriptedSource:
    """The rig's own scripted policy, which knows the truth: what an evaluation can reach at most."""

    execute_ns = SCRIPTED_PERIOD_NS
    wants_views = False

    def begin(self, _start: EpisodeStart, /) -> None:
        """It remembers nothing beyond the rig."""

    def decide(self, rig: LockstepRig, _view: RigView | None, /) -> Decision:
        return Decision(rig.scripted_chunk())


class HoldingSource:
    """Never moves: what chance and gravity alone achieve."""

    execute_ns = SCRIPTED_PERIOD_NS
    wants_views = False

    def begin(self, _start: EpisodeStart, /) -> None:
        """Nothing to remember."""

    def decide(self, _rig: LockstepRig, _view: RigView | None, /) -> None:
        return None


class PolicySource:
    """A policy, asked with what the cameras show; receding horizon by the ``execute_steps`` of its IoSpec."""

    wants_views = True

    def __init__(self, policy: Policy, *, execute_steps: int | None = None, settle_ns: int = 0) -> None:
        """``execute_steps`` replaces the policy's own. What will be executed of the running chunk within ``settle_ns``, because the
        next takes so long to the arm, is handed to a policy that can continue it as settled.

        Raises:
            EvaluationError: more steps than the horizon has rows.
        """
        io = policy.io_spec
        self._steps = execute_steps or io.execute_steps
        if self._steps > io.horizon:
            raise EvaluationError(f"--execute-steps {self._steps} exceeds the policy's horizon of {io.horizon} rows")
        self.policy = policy
        self.execute_ns = self._steps * io.contract.period_ns
        self._other_instruction: str | None = None
        self._instruction = ""
        self._seed = 0
        self._asked = 0
        self.settle_ns = settle_ns
        """May be another in each episode."""
        self._running: ActionChunk | None = None

    def say(self, instruction: str) -> None:
        """In the next episode, ask for ``instruction`` instead of the episode's own."""
        self._other_instruction = instruction

    def begin(self, start: EpisodeStart, /) -> None:
        self._instruction = start.instruction if self._other_instruction is None else self._other_instruction
        self._other_instruction = None
        self._seed, self._asked, self._running = start.seed, 0, None
        self.policy.reset(instruction=self._instruction)

    def decide(self, _rig: LockstepRig, view: RigView | None, /) -> Decision:
        assert view is not None  # noqa: S101  # wants_views
        observation = PolicyObservation(
            stamp_ns=view.stamp_ns,
            views=views_of(view.frames, io=self.policy.io_spec),
            state=state_row(view.state),
            instruction=self._instruction,
        )
        # the noise is part of the start: the same seed gives the same episode
        answer = self.policy.act(
            observation, noise_seed=(self._seed << 16) + self._asked, settled=self._settled(view.stamp_ns)
        )
        self._asked += 1
        self._running = self._chunk(answer)
        return Decision(self._running, answer)

    def _settled(self, stamp_ns: int) -> Float[np.ndarray, "rows 7"] | None:
        if self._running is None:
            return None
        period_ns = self.policy.io_spec.contract.period_ns
        return settled_rows(
            self._running,
            stamp_ns=stamp_ns,
            period_ns=period_ns,
            delay_ns=self.settle_ns,
            at_most=self.policy.max_settled,
        )

    def _chunk(self, answer: PolicyAnswer) -> ActionChunk:
        period_ns = self.policy.io_spec.contract.period_ns
        return ActionChunk(
            sequence=self._asked,
            source="policy",
            bundle_id=self.policy.bundle_id,
            stamp_ns=answer.stamp_ns,
            alive_stamp_ns=answer.stamp_ns,
            start_ns=answer.stamp_ns + period_ns,
            period_ns=period_ns,
            space=ActionSpace.TCP,
            targets=answer.targets,
            gripper_openings=answer.openings,
            execute_steps=self._steps,
            final=False,
        )
