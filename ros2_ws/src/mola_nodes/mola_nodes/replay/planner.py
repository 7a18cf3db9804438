"""A recorded motion as two planners: slowly to where it began, then row by row and a moment of waiting for the verdict."""

from typing import Protocol

from mola_interfaces.action import RunPolicy

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.types import ActionChunk
from mola_core.data.replay.chunks import Approach, is_at_start, track_chunk
from mola_core.data.replay.track import Track
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import RolloutEnd
from mola_twin.tasks.success import Success

_AGAIN_NS = 400 * NS_PER_MS
"""A plan of a second is replaced this often, and said again at every frame between."""
_LEAD_NS = 200 * NS_PER_MS
_SETTLE_NS = 2 * NS_PER_S
_ARRIVAL_NS = 3 * NS_PER_S


class World(Protocol):
    """The twin's world; see :mod:`mola_twin.world_client`."""

    def success(self) -> Success:
        """Is the running task done?"""
        ...


class ApproachPlanner:
    """Slowly to the recorded start; behind :class:`mola_nodes.policy.rollout.Planner`."""

    phase = "going to where the recording began"

    def __init__(self, track: Track, *, inputs: NewestInputs, clock: Clock) -> None:
        self._track = track
        self._inputs = inputs
        self._clock = clock
        self._approach: Approach | None = None
        self._planned_ns = 0

    def refusal(self) -> str:
        """Whether the start can be reached shows on the way."""
        return ""

    def ending(self) -> RolloutEnd | None:
        """There, or due there for too long."""
        state, now_ns = self._inputs.state, self._clock.now_ns()
        if self._approach is None or state is None:
            return None
        arrival_ns = self._approach.begin_ns + self._approach.duration_ns
        if now_ns >= arrival_ns and is_at_start(self._track, state.joint_positions):
            return RolloutEnd(RunPolicy.Result.SUCCEEDED, "at the recorded start")
        if now_ns > arrival_ns + _ARRIVAL_NS:
            return RolloutEnd(RunPolicy.Result.FAILED, "the arm does not reach the recorded start")
        return None

    def plan(self) -> ActionChunk | None:
        """The next second, every 0.4 s."""
        state, now_ns = self._inputs.state, self._clock.now_ns()
        assert state is not None  # noqa: S101  # the run has seen to it that all inputs are there
        if self._approach is None:
            opening = float(self._track.openings[0])
            self._approach = Approach(
                begin_ns=now_ns, start=state.joint_positions, goal=self._track.start_joints, opening=opening
            )
        if now_ns - self._planned_ns < _AGAIN_NS:
            return None
        self._planned_ns = now_ns
        return self._approach.chunk(now_ns=now_ns, stamp_ns=self._inputs.oldest_stamp_ns())


class TrackPlanner:
    """What was commanded, at its own pace; behind :class:`mola_nodes.policy.rollout.Planner`."""

    def __init__(self, track: Track, *, world: World | None, inputs: NewestInputs, clock: Clock) -> None:
        """Without a ``world`` nobody can tell whether the task was done; then the end of the motion is the end."""
        self._track = track
        self._world = world
        self._inputs = inputs
        self._clock = clock
        self._begin_ns: int | None = None
        self._planned_ns = 0

    @property
    def phase(self) -> str:
        """How far the recording has come."""
        passed_ns = 0 if self._begin_ns is None else self._clock.now_ns() - self._begin_ns
        return f"{max(passed_ns, 0) / NS_PER_S:.1f} of {self._track.duration_ns / NS_PER_S:.1f} s"

    def refusal(self) -> str:
        """Too far from where the recording began."""
        state = self._inputs.state
        if state is not None and is_at_start(self._track, state.joint_positions):
            return ""
        return "the arm is not where the recording began"

    def ending(self) -> RolloutEnd | None:
        """Done in the world's eyes, or over."""
        due_ns = None if self._begin_ns is None else self._begin_ns + self._track.duration_ns + _SETTLE_NS
        over = due_ns is not None and self._clock.now_ns() > due_ns
        if self._world is None:
            return RolloutEnd(RunPolicy.Result.SUCCEEDED, "replayed to its end") if over else None
        verdict = self._world.success()
        if verdict.done:
            return RolloutEnd(RunPolicy.Result.SUCCEEDED, "done")
        missing = ", ".join(name for name, holds in verdict.conditions.items() if not holds) or "for long enough"
        return RolloutEnd(RunPolicy.Result.FAILED, f"replayed to its end, not {missing}") if over else None

    def plan(self) -> ActionChunk | None:
        """The next second, every 0.4 s."""
        now_ns = self._clock.now_ns()
        if self._begin_ns is None:
            self._begin_ns = now_ns + _LEAD_NS
        if now_ns - self._planned_ns < _AGAIN_NS:
            return None
        self._planned_ns = now_ns
        stamp_ns = self._inputs.oldest_stamp_ns()
        return track_chunk(self._track, begin_ns=self._begin_ns, now_ns=now_ns, stamp_ns=stamp_ns)
