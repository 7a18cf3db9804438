"""When a replay on the graph may begin, how it goes on and how it ends; no process, no time."""

from types import SimpleNamespace

import numpy as np
import pytest
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import ServoStatus

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, FakeClock
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.types import ActionSpace, RobotMode, RobotState, SafetyMode
from mola_core.data.replay.track import Track
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import Rollout
from mola_nodes.replay.planner import ApproachPlanner, TrackPlanner

FRAME_NS = 33 * NS_PER_MS
TRACK = Track(
    name="episode 0",
    instruction="press the button",
    outcome="success",
    scene=None,
    contract=DataContract(cameras=("third_person", "wrist"), period_ns=100 * NS_PER_MS),
    period_ns=100 * NS_PER_MS,
    space=ActionSpace.JOINT,
    targets=np.linspace(0, 0.3, 21)[:, None] + np.zeros(6),
    openings=np.ones(21),
    start_joints=np.zeros(6),
)


class FollowingInputs(NewestInputs):
    """A frame every 33 ms of fake time; the arm is where the newest chunk wants it, unless it is stuck."""

    def __init__(self, clock, *, joints, stuck=False):
        super().__init__(("third_person", "wrist"), lost_after_ms=300, clock=clock)
        self._fake, self.joints, self.stuck = clock, np.full(6, joints), stuck
        self.sent = []
        self.note_servo(ServoStatus(state=ServoStatus.HOLDING))
        self._arrive()

    def _arrive(self):
        now_ns = self._fake.now_ns()
        if self.sent and not self.stuck:
            chunk = self.sent[-1]
            row = int(np.clip((now_ns - chunk.start_ns) // chunk.period_ns, 0, len(chunk.targets) - 1))
            self.joints = chunk.targets[row]
        zeros = np.zeros(6)
        self.note_state(RobotState(now_ns, self.joints, zeros, zeros, 1.0, RobotMode.RUNNING, SafetyMode.NORMAL, 1.0))
        for role in ("third_person", "wrist"):
            self.note_frame(role, now_ns - 10 * NS_PER_MS)

    def wait_seen(self, *, after_ns, timeout_s):
        self._fake.advance(FRAME_NS)
        self._arrive()
        return self.oldest_stamp_ns()


class FakeWorld:
    """Done when the arm has come ``done_at`` far."""

    def __init__(self, inputs, *, done_at):
        self._inputs, self._done_at = inputs, done_at

    def success(self):
        done = bool(self._inputs.joints[0] >= self._done_at)
        return SimpleNamespace(done=done, conditions={"pressed": done})


def run(planner, inputs, clock):
    rollout = Rollout(
        source="replay",
        planner=planner,
        inputs=inputs,
        send=inputs.sent.append,
        next_sequence=iter(range(1, 10**6)).__next__,
        clock=clock,
    )
    return rollout.run(time_limit_ns=60 * NS_PER_S, cancelled=lambda: False, progress=lambda _: None)


@pytest.fixture
def clock():
    return FakeClock(start_ns=1_700_000_000 * NS_PER_S)


def test_the_arm_is_brought_to_the_start_slowly(clock):
    inputs = FollowingInputs(clock, joints=0.5)
    end = run(ApproachPlanner(TRACK, inputs=inputs, clock=clock), inputs, clock)
    assert (end.outcome, end.reason) == (RunPolicy.Result.SUCCEEDED, "at the recorded start")
    assert np.abs(inputs.joints).max() < 0.02
    places = np.array([chunk.targets[0] for chunk in inputs.sent])[:, 0]
    assert np.abs(np.diff(places)).max() < 0.2  # no plan begins far from where the one before it was
    assert inputs.sent[-1].final


def test_an_arm_that_does_not_arrive_ends_it(clock):
    inputs = FollowingInputs(clock, joints=0.5, stuck=True)
    end = run(ApproachPlanner(TRACK, inputs=inputs, clock=clock), inputs, clock)
    assert (end.outcome, end.reason) == (RunPolicy.Result.FAILED, "the arm does not reach the recorded start")


def test_the_recording_does_not_begin_from_elsewhere(clock):
    inputs = FollowingInputs(clock, joints=0.5)
    end = run(TrackPlanner(TRACK, world=None, inputs=inputs, clock=clock), inputs, clock)
    assert (end.outcome, end.reason) == (RunPolicy.Result.FAILED, "the arm is not where the recording began")
    assert inputs.sent == []


def test_the_recording_is_followed_until_the_world_says_done(clock):
    inputs = FollowingInputs(clock, joints=0.0)
    begin_ns = clock.now_ns()
    end = run(TrackPlanner(TRACK, world=FakeWorld(inputs, done_at=0.25), inputs=inputs, clock=clock), inputs, clock)
    assert (end.outcome, end.reason) == (RunPolicy.Result.SUCCEEDED, "done")
    assert 1.5 < (clock.now_ns() - begin_ns) / NS_PER_S < 2.6  # 0.25 of 0.3 is reached after 1.7 s and a lead
    starts = {chunk.start_ns for chunk in inputs.sent if not chunk.final}
    assert len(starts) < 10  # the same plan is said again between frames, not made anew


@pytest.mark.parametrize(
    ("with_world", "outcome"), [(True, RunPolicy.Result.FAILED), (False, RunPolicy.Result.SUCCEEDED)]
)
def test_the_end_of_the_recording_is_the_end(clock, with_world, outcome):
    inputs = FollowingInputs(clock, joints=0.0)
    world = FakeWorld(inputs, done_at=9.0) if with_world else None
    end = run(TrackPlanner(TRACK, world=world, inputs=inputs, clock=clock), inputs, clock)
    assert end.outcome == outcome
    assert end.reason.startswith("replayed to its end")
    assert inputs.joints[0] == pytest.approx(0.3)
