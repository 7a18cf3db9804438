"""When a scripted run ends, what it says, and how it leaves the arm; no process, no time."""

from dataclasses import replace

import numpy as np
import pytest
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import ServoStatus

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, FakeClock
from mola_core.contracts.errors import ConfigError, DeviceError
from mola_core.contracts.types import ActionChunk, ActionSpace, RobotMode, RobotState, SafetyMode
from mola_nodes.policy.inputs import NewestInputs
from mola_nodes.policy.rollout import Rollout, shortened
from mola_nodes.scripted.instruction import task_of_instruction
from mola_nodes.scripted.planner import ExpertPlanner
from mola_twin.tasks.instructions import TASKS

FRAME_NS = 33 * NS_PER_MS


class FakeInputs(NewestInputs):
    """A frame every 33 ms of fake time, of both cameras, until ``num_frames`` have come."""

    def __init__(self, clock: FakeClock, *, num_frames: int) -> None:
        super().__init__(("third_person", "wrist"), lost_after_ms=300, clock=clock)
        self._fake = clock
        self.num_left = num_frames
        self.servo_reasons: list[str] = []
        self.note_servo(ServoStatus(state=ServoStatus.HOLDING))
        self._arrive()

    def _arrive(self) -> None:
        now_ns = self._fake.now_ns()
        self.note_state(
            RobotState(
                stamp_ns=now_ns,
                joint_positions=np.zeros(6),
                joint_velocities=np.zeros(6),
                base_from_tcp=np.zeros(6),
                gripper_opening=None,
                robot_mode=RobotMode.RUNNING,
                safety_mode=SafetyMode.NORMAL,
                speed_scaling=1.0,
            )
        )
        self.note_frame("wrist", now_ns - 20 * NS_PER_MS)
        self.note_frame("third_person", now_ns - 10 * NS_PER_MS)

    def wait_seen(self, *, after_ns: int, timeout_s: float) -> int | None:
        if self.num_left == 0:
            self._fake.advance(round(timeout_s * NS_PER_S) + 1)
            return None
        self.num_left -= 1
        self._fake.advance(FRAME_NS)
        self._arrive()
        return self.oldest_stamp_ns()


class FakeWorld:
    """Done after ``done_after`` questions."""

    def __init__(self, *, task: str = "press_button", done_after: int = 10**6) -> None:
        self.task = task
        self._left = done_after

    def truth(self) -> "FakeWorld":
        return self

    def success(self) -> "FakeWorld":
        self._left -= 1
        return self

    @property
    def done(self) -> bool:
        return self._left < 0


class FakeExpert:
    stage = "reach"

    def __init__(self, *, fails: bool = False) -> None:
        self._fails = fails

    def act(self, *, truth: object, state: RobotState, now_ns: int) -> ActionChunk:
        if self._fails:
            raise DeviceError("no twin answers")
        return ActionChunk(
            sequence=1,
            source="expert",
            bundle_id="",
            stamp_ns=now_ns,
            alive_stamp_ns=now_ns,
            start_ns=now_ns,
            period_ns=50 * NS_PER_MS,
            space=ActionSpace.TCP,
            targets=np.arange(96.0).reshape(16, 6),
            gripper_openings=np.ones(16),
            execute_steps=4,
            final=False,
        )


class Run:
    """A rollout with everything faked, and what it sent."""

    def __init__(
        self, *, num_frames: int = 1000, world: FakeWorld | None = None, expert: FakeExpert | None = None
    ) -> None:
        self.clock = FakeClock()
        self.inputs = FakeInputs(self.clock, num_frames=num_frames)
        self.sent: list[ActionChunk] = []
        planner = ExpertPlanner(
            task="press_button",
            expert=expert or FakeExpert(),
            world=world or FakeWorld(),  # type: ignore[arg-type]
            inputs=self.inputs,
            clock=self.clock,
        )
        self.rollout = Rollout(
            source="scripted",
            planner=planner,
            inputs=self.inputs,
            send=self.sent.append,
            next_sequence=lambda: 100 + len(self.sent),
            clock=self.clock,
        )

    def end(self, *, limit_s: float = 5.0, cancel_after: int = 10**6) -> tuple[int, str]:
        end = self.rollout.run(
            time_limit_ns=round(limit_s * NS_PER_S),
            cancelled=lambda: len(self.sent) >= cancel_after,
            progress=lambda _: None,
        )
        return end.outcome, end.reason


def test_chunks_claim_no_more_than_was_seen() -> None:
    run = Run(world=FakeWorld(done_after=5))
    assert run.end() == (RunPolicy.Result.SUCCEEDED, "done")
    first = run.sent[0]
    assert first.start_ns - first.stamp_ns == 20 * NS_PER_MS, "the wrist frame is the oldest of the newest"
    assert all(chunk.alive_stamp_ns >= chunk.stamp_ns for chunk in run.sent)
    assert [chunk.sequence for chunk in run.sent] == list(range(100, 100 + len(run.sent)))
    assert {chunk.source for chunk in run.sent} == {"scripted"}


@pytest.mark.parametrize(
    ("kwargs", "outcome"),
    [
        ({"cancel_after": 3}, RunPolicy.Result.CANCELLED),
        ({"limit_s": 0.2}, RunPolicy.Result.TIME_LIMIT),
    ],
)
def test_ended_run_brings_the_arm_to_rest_on_its_path(kwargs: dict[str, float], outcome: int) -> None:
    run = Run()
    assert run.end(**kwargs)[0] == outcome  # type: ignore[arg-type]
    assert not run.sent[0].final
    last = run.sent[-1]
    assert last.final
    assert last.execute_steps == len(last.targets) < 16
    np.testing.assert_array_equal(last.targets, np.arange(96.0).reshape(16, 6)[: len(last.targets)])


def test_lost_frames_end_the_run_without_another_chunk() -> None:
    run = Run(num_frames=4)
    outcome, reason = run.end()
    assert outcome == RunPolicy.Result.INPUT_LOST
    assert "third_person frame is" in reason
    assert len(run.sent) == 4


def test_stopped_arm_ends_the_run_with_the_servos_reason() -> None:
    run = Run()
    run.inputs.note_servo(ServoStatus(state=ServoStatus.STOPPED, reason="protective stop"))
    outcome, reason = run.end()
    assert outcome == RunPolicy.Result.ARM_STOPPED
    assert "protective stop" in reason
    assert not run.sent


def test_world_of_another_task_is_refused() -> None:
    run = Run(world=FakeWorld(task="open_drawer"))
    outcome, reason = run.end()
    assert outcome == RunPolicy.Result.FAILED
    assert "set up for 'open_drawer'; reset it to 'press_button'" in reason
    assert not run.sent


def test_lost_world_ends_the_run_with_its_error() -> None:
    assert Run(expert=FakeExpert(fails=True)).end() == (RunPolicy.Result.FAILED, "no twin answers")


def test_shortened_chunk_keeps_at_least_a_row() -> None:
    chunk = FakeExpert().act(truth=None, state=None, now_ns=NS_PER_S)  # type: ignore[arg-type]
    assert len(shortened(chunk, until_ns=0).targets) == 1
    assert len(shortened(chunk, until_ns=NS_PER_S + 120 * NS_PER_MS).targets) == 3
    assert len(shortened(replace(chunk, final=True), until_ns=10 * NS_PER_S).targets) == 16


@pytest.mark.parametrize("task", TASKS)
def test_every_phrasing_means_its_task(task: str) -> None:
    for phrasing in (*TASKS[task].train, *TASKS[task].held_out):
        sentence = phrasing.format(top="purple", bottom="green")
        assert task_of_instruction(f" {sentence.capitalize()}. ").name == task


@pytest.mark.parametrize("sentence", ["", "press", "press the button and sing", "stack the red block"])
def test_other_sentences_mean_nothing(sentence: str) -> None:
    with pytest.raises(ConfigError, match=r"it knows e\.g\.: put the bottle in the bin"):
        task_of_instruction(sentence)
