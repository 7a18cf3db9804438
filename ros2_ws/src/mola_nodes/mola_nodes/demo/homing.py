"""The arm brought home between two tasks, as a person would with a stick: hand open, straight up, then to the site's home."""

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
from mola_interfaces.action import RunPolicy
from std_msgs.msg import String

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import Site
from mola_core.contracts.types import ActionChunk, ActionSpace, Joints, RobotState
from mola_nodes import graph
from mola_nodes.conversions.images import capture_and_receive_ns
from mola_nodes.conversions.motion import message_from_chunk, robot_state_from_message
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import Planner, Rollout, RolloutEnd

SOURCE = "operator"
_LIFT_TO_M, _LIFT_AT_LEAST_M, _LIFT_AT_MOST_M = 0.4, 0.01, 0.25
_REACH_M = 0.75
"""Beyond it, the arm is not lifted: up there it might be out of reach."""
_LIFT_SPEED, _HOME_SPEED = 0.15, 0.5
"""m/s, rad/s of the fastest joint; mean over a minimum-jerk motion."""
_AT_HOME_RAD = 0.05
_PERIOD_NS = 40 * NS_PER_MS
_AHEAD_NS = NS_PER_S
_AGAIN_NS = 400 * NS_PER_MS
_SLACK_NS = 5 * NS_PER_S
"""Beside the motion: before it, a run waits up to two seconds for cameras that stutter."""
_INPUTS_S, _SETTLE_S = 10.0, 2.0
_ATTEMPTS = 3
"""On a machine that is too busy the arm stops half-way, as it must where the world is no longer seen; a person would resume it."""


class Homing:
    """Listens all the time, moves only in :meth:`go`."""

    def __init__(self, site: Site, *, operator: OperatorClient, say: Callable[[str], object] = lambda _: None) -> None:
        """``say`` is told why an attempt has ended on the way, before the next."""
        self._say = say
        self._home: Joints = np.array(site.arm.home)
        self._operator = operator
        self._clock = SystemClock()
        self._inputs = NewestInputs(site.cameras, lost_after_ms=2 * site.safety.stale_ms, clock=self._clock)
        self._sequence = itertools.count(self._clock.now_ns() // NS_PER_MS)
        for role in site.cameras:
            operator.subscribe(graph.camera_topics(role).color_metadata, partial(self._note_frame, role))
        operator.subscribe(
            graph.ROBOT_STATE, lambda message: self._inputs.note_state(robot_state_from_message(message))
        )
        operator.subscribe(graph.SERVO_STATUS, self._inputs.note_servo)
        topic = graph.ACTION_CHUNK
        self._chunks = operator.node.create_publisher(topic.type, topic.name, topic.qos)

    def go(self) -> None:
        """Resume the arm and bring it home, from where it is, in three attempts at most; returns at once where it is there.

        Raises:
            MolaError: it does not engage, or does not get there; says why the last attempt has ended.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._go()
            except MolaError as error:
                if attempt == _ATTEMPTS:
                    raise MolaError(f"the arm does not get home in {_ATTEMPTS} attempts; the last: {error}") from error
                self._say(f"on the way home: {error}; once more")
            else:
                return

    def _go(self) -> None:
        self._operator.resume()
        # engaged as heard here, too: the operator's own subscription may be a message ahead
        self._operator.wait_for(
            lambda: self._inputs.servo_is_engaged and not self._inputs.missing(), "cameras and arm", timeout_s=_INPUTS_S
        )
        if self._is_home():
            return
        pose = self._state().base_from_tcp
        lift_m = float(np.clip(_LIFT_TO_M - pose[2], 0.0, _LIFT_AT_MOST_M))
        if lift_m > _LIFT_AT_LEAST_M and float(np.linalg.norm(pose[:3])) < _REACH_M:
            goal = pose.copy()
            goal[2] += lift_m
            self._move(ActionSpace.TCP, pose, goal, duration_s=lift_m / _LIFT_SPEED)
        joints = self._state().joint_positions
        travel = float(np.abs(self._home - joints).max())
        self._move(ActionSpace.JOINT, joints, self._home, duration_s=travel / _HOME_SPEED)
        self._operator.wait_for(self._is_home, "the arm to be at home", timeout_s=_SETTLE_S)

    def _move(self, space: ActionSpace, start: np.ndarray, goal: np.ndarray, *, duration_s: float) -> None:
        planner: Planner = _Motion(space, start, goal, duration_s=duration_s, clock=self._clock, inputs=self._inputs)
        rollout = Rollout(
            source=SOURCE,
            planner=planner,
            inputs=self._inputs,
            send=lambda chunk: self._chunks.publish(message_from_chunk(chunk)),
            next_sequence=self._sequence.__next__,
            clock=self._clock,
        )
        limit_ns = round(duration_s * NS_PER_S) + _SLACK_NS
        end = rollout.run(time_limit_ns=limit_ns, cancelled=lambda: False, progress=lambda _: None)
        if end.outcome != RunPolicy.Result.SUCCEEDED:
            raise MolaError(end.reason)

    def _note_frame(self, role: str, message: String) -> None:
        self._inputs.note_frame(role, capture_and_receive_ns(message)[0])

    def _state(self) -> RobotState:
        state = self._inputs.state
        assert state is not None  # noqa: S101  # no input is missing
        return state

    def _is_home(self) -> bool:
        return float(np.abs(self._state().joint_positions - self._home).max()) < _AT_HOME_RAD


class _Motion:
    """A minimum-jerk motion with an open hand; behind :class:`mola_nodes.policy.rollout.Planner`."""

    phase = "going home"

    def __init__(
        self,
        space: ActionSpace,
        start: np.ndarray,
        goal: np.ndarray,
        *,
        duration_s: float,
        clock: Clock,
        inputs: NewestInputs,
    ) -> None:
        self._space, self._start, self._goal = space, start, goal
        self._duration_ns = max(round(duration_s * NS_PER_S), NS_PER_S // 2)
        self._clock, self._inputs = clock, inputs
        self._begin_ns: int | None = None
        self._planned_ns = 0

    def refusal(self) -> str:
        """Nothing stands against it."""
        return ""

    def ending(self) -> RolloutEnd | None:
        """When the time is over that it takes."""
        over = self._begin_ns is not None and self._clock.now_ns() > self._begin_ns + self._duration_ns
        return RolloutEnd(RunPolicy.Result.SUCCEEDED, "there") if over else None

    def plan(self) -> ActionChunk | None:
        """The next second, every 0.4 s."""
        now_ns = self._clock.now_ns()
        if now_ns - self._planned_ns < _AGAIN_NS:
            return None
        self._begin_ns, self._planned_ns = self._begin_ns or now_ns, now_ns
        stamps = now_ns + _PERIOD_NS * np.arange(1, _AHEAD_NS // _PERIOD_NS + 1)
        share = np.clip((stamps - self._begin_ns) / self._duration_ns, 0.0, 1.0)
        travelled = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        stamp_ns = self._inputs.oldest_stamp_ns()
        return ActionChunk(
            sequence=0,
            source=SOURCE,
            bundle_id="",
            stamp_ns=stamp_ns,
            alive_stamp_ns=stamp_ns,
            start_ns=int(stamps[0]),
            period_ns=_PERIOD_NS,
            space=self._space,
            targets=self._start + travelled[:, None] * (self._goal - self._start),
            gripper_openings=np.ones(len(stamps)),
            execute_steps=len(stamps),
            final=False,
        )
