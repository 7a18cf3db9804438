"""The twin's expert as a planner: it asks the world where things are and when the task is done."""

from dataclasses import replace
from typing import Protocol

from mola_interfaces.action import RunPolicy

from mola_core.contracts.clock import Clock
from mola_core.contracts.types import ActionChunk, RobotState
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import RolloutEnd
from mola_twin.tasks.success import Success
from mola_twin.tasks.truth import Truth


class Expert(Protocol):
    """Closed-loop source of chunks; see :mod:`mola_twin.expert`."""

    @property
    def stage(self) -> str:
        """What it is doing."""
        ...

    def act(self, *, truth: Truth, state: RobotState, now_ns: int) -> ActionChunk:
        """What to do from ``now_ns`` on."""
        ...


class World(Protocol):
    """The twin's world; see :mod:`mola_twin.world_client`."""

    def truth(self) -> Truth:
        """Where everything is."""
        ...

    def success(self) -> Success:
        """Is the running task done?"""
        ...


class ExpertPlanner:
    """Behind :class:`mola_nodes.policy.rollout.Planner`; a new plan at every frame."""

    def __init__(self, *, task: str, expert: Expert, world: World, inputs: NewestInputs, clock: Clock) -> None:
        self._task = task
        self._expert = expert
        self._world = world
        self._inputs = inputs
        self._clock = clock

    @property
    def phase(self) -> str:
        """The expert's stage."""
        return self._expert.stage

    def refusal(self) -> str:
        """Another task than the twin's."""
        truth = self._world.truth()
        return "" if truth.task == self._task else f"the twin is set up for {truth.task!r}; reset it to {self._task!r}"

    def ending(self) -> RolloutEnd | None:
        """Done when the world says so."""
        return RolloutEnd(RunPolicy.Result.SUCCEEDED, "done") if self._world.success().done else None

    def plan(self) -> ActionChunk:
        """What the expert means to do from now on."""
        state = self._inputs.state
        assert state is not None  # noqa: S101  # the run has seen to it that all inputs are there
        # the claim of what was seen comes before the look at the truth, so that it is never newer than the plan
        stamp_ns = self._inputs.oldest_stamp_ns()
        chunk = self._expert.act(truth=self._world.truth(), state=state, now_ns=self._clock.now_ns())
        return replace(chunk, stamp_ns=stamp_ns)
