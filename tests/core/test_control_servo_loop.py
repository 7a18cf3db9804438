"""The loop around the core: deadlines, signs of life, and the link to the controller node."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mola_core.contracts.clock import NS_PER_MS, FakeClock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site
from mola_core.contracts.types import RobotMode, SafetyMode
from mola_core.control.histogram import DurationHistogram
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.kinematics import forward_kinematics
from mola_core.control.link_records import ServoStatus
from mola_core.control.servo_link import MAILBOX_SLOTS, ControllerEnd, ServoEnd
from mola_core.control.servo_loop import ArmSilentError, ServoLoop
from mola_core.control.servo_types import ChunkOutcome, ServoState

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
HOME = np.array(SITE.arm.home)


@dataclass(frozen=True)
class FakeReading:
    """What the fake arm says."""

    joint_positions: np.ndarray
    stamp_ns: int
    controller_time_s: float = 1.0
    joint_velocities: np.ndarray = field(default_factory=lambda: np.zeros(6))
    base_from_tcp: np.ndarray = field(default_factory=lambda: forward_kinematics(HOME)[:3, 3].repeat(2))
    robot_mode: RobotMode = RobotMode.RUNNING
    safety_mode: SafetyMode = SafetyMode.NORMAL
    speed_scaling: float = 1.0
    program_running: bool = True


class FakeArm:
    """Is at once where it was told to be; keeps a record of when it was told."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.is_alive = True
        self.sent: list[tuple[int, np.ndarray]] = []

    def read(self) -> FakeReading:
        return FakeReading(self.sent[-1][1] if self.sent else HOME, self._clock.now_ns())

    def servo(self, joint_positions: np.ndarray) -> None:
        self.sent.append((self._clock.monotonic_ns(), joint_positions))


class Bench:
    """A loop on a fake clock with both ends of a link; ``script`` maps ticks to what the controller does then."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock(start_ns=10**15)
        self.controller = ControllerEnd(directory, clock=self.clock)
        self.link = ServoEnd(directory)
        self.arm = FakeArm(self.clock)
        self.loop = ServoLoop(site=SITE, arm=self.arm, link=self.link, clock=self.clock)
        self.ticks = 0
        self.beating = True

    def run(self, ticks: int, script: dict[int, object] | None = None) -> str:
        script = dict(script or {})
        first = self.ticks

        def watch() -> str:
            self.ticks += 1
            if self.beating:
                self.controller.beat()
            action = script.pop(self.ticks - first, None)
            if callable(action):
                action()
            return "enough" if self.ticks - first >= ticks else ""

        return self.loop.run(watch=watch)

    def chunk(self, sequence: int = 0, **changes: object) -> JointChunk:
        now_ns = self.clock.now_ns()
        rows = np.tile(HOME, (20, 1))
        rows[:, 0] += 0.01 * np.arange(20)
        made = JointChunk(
            sequence=sequence,
            source="policy",
            bundle_id="b1",
            stamp_ns=now_ns,
            alive_stamp_ns=now_ns,
            start_ns=now_ns + 60 * NS_PER_MS,
            period_ns=33_333_333,
            joint_targets=rows,
            gripper_openings=np.full(20, 0.25),
            execute_steps=10,
            final=False,
        )
        return replace(made, **changes)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_ticks_come_at_absolute_deadlines(bench: Bench) -> None:
    bench.run(50)
    times = np.array([time for time, _ in bench.arm.sent])
    assert (np.diff(times) == 2 * NS_PER_MS).all()


def test_after_a_stall_the_loop_takes_a_new_phase_instead_of_a_burst(bench: Bench) -> None:
    bench.run(60, {30: lambda: bench.clock.advance(101 * NS_PER_MS)})
    gaps = np.diff([time for time, _ in bench.arm.sent])
    assert gaps.max() == 103 * NS_PER_MS
    assert (gaps < NS_PER_MS).sum() == 1  # the one tick that was due meanwhile
    assert (gaps[-25:] == 2 * NS_PER_MS).all()
    status = bench.controller.status()
    assert status is not None
    assert status.lateness_max_ns >= 99 * NS_PER_MS
    assert status.overruns == 1


def test_chunks_pass_through_the_mailbox_and_move_the_arm(bench: Bench) -> None:
    bench.run(80, {5: bench.controller.resume, 10: lambda: bench.controller.send(bench.chunk())})
    status = bench.controller.status()
    assert status is not None
    assert status.outcomes[ChunkOutcome.ACCEPTED] == 1
    assert status.gripper_target == 0.25
    assert bench.arm.sent[75][1][0] > HOME[0] + 0.005
    assert status.state is ServoState.STOPPED
    assert status.reason == "enough"


def test_camera_to_servo_latency_is_that_of_the_last_second(bench: Bench) -> None:
    heard: list[ServoStatus | None] = []
    script: dict[int, object] = {5: bench.controller.resume, 10: lambda: bench.controller.send(bench.chunk())}
    bench.run(1200, script | {600: lambda: heard.append(bench.controller.status())})
    first, second = heard[0], bench.controller.status()
    assert first is not None
    assert first.latency_count == 1
    assert 0 < first.latency_p50_ns == first.latency_max_ns == first.latency_last_ns
    assert second is not None  # nothing was sent meanwhile: what was measured before is not said again
    assert (second.latency_count, second.latency_p50_ns, second.latency_max_ns) == (0, 0, 0)
    assert second.latency_last_ns == first.latency_last_ns


def test_the_end_is_braked_before_the_loop_returns(bench: Bench) -> None:
    bench.run(80, {5: bench.controller.resume, 10: lambda: bench.controller.send(bench.chunk())})
    sent = np.array([positions for _, positions in bench.arm.sent])
    assert len(sent) > 100  # braking took its time
    assert bench.loop.core.motion.is_at_rest
    assert np.abs(np.diff(sent, n=3, axis=0)).max() / 0.002**3 <= max(SITE.arm.jerk_max) * (1 + 1e-6)


def test_a_silent_controller_brakes_the_arm_and_its_return_does_not_move_it(bench: Bench) -> None:
    def silence() -> None:
        bench.beating = False

    def speak() -> None:
        bench.beating = True
        bench.controller.send(bench.chunk(sequence=9))

    states: list[tuple[int, ServoState]] = []
    script: dict[int, object] = {5: bench.controller.resume, 10: lambda: bench.controller.send(bench.chunk())}
    script |= {40: silence, 100: speak}
    script |= {tick: lambda tick=tick: states.append((tick, bench.loop.core.state)) for tick in (39, 84, 92, 99, 160)}
    bench.run(170, script)
    assert dict(states) == {
        39: ServoState.EXECUTING,
        84: ServoState.EXECUTING,  # silent since tick 39, the limit of 95 ms is 47 ticks later
        92: ServoState.BRAKING,
        99: ServoState.BRAKING,
        160: ServoState.STOPPED,
    }


def test_a_silent_manager_brakes_the_arm_once_it_was_heard(bench: Bench) -> None:
    beat = bench.controller.beat
    bench.run(100, {5: bench.controller.resume, 6: lambda: beat(manager_beat_ns=bench.clock.monotonic_ns())})
    status = bench.controller.status()
    assert status is not None
    assert "lifecycle manager is silent" in status.reason


def test_wishes_from_before_the_process_began_do_not_count(tmp_path: Path) -> None:
    clock = FakeClock(start_ns=10**15)
    controller = ControllerEnd(tmp_path, clock=clock)
    controller.resume()
    bench = Bench.__new__(Bench)
    bench.clock, bench.controller, bench.ticks, bench.beating = clock, controller, 0, True
    bench.link = ServoEnd(tmp_path)
    bench.arm = FakeArm(clock)
    bench.loop = ServoLoop(site=SITE, arm=bench.arm, link=bench.link, clock=clock)
    bench.run(20)
    assert bench.loop.core.counters.stops == 0  # it was never engaged


def test_a_clock_of_the_arm_that_stands_still_ends_the_loop(bench: Bench) -> None:
    def freeze() -> None:
        bench.arm.is_alive = False

    with pytest.raises(ArmSilentError, match="stands still"):
        bench.run(50, {20: freeze})
    assert len(bench.arm.sent) == 19


def test_a_stepped_system_clock_makes_inputs_stale_and_stops_the_arm(bench: Bench) -> None:
    def step() -> None:
        bench.clock._start_ns += 10**10

    bench.run(80, {5: bench.controller.resume, 10: lambda: bench.controller.send(bench.chunk()), 50: step})
    status = bench.controller.status()
    assert status is not None
    assert "stale" in status.reason


# --- the link -----------------------------------------------------------------------------------------------------------


def test_several_chunks_between_two_looks_arrive_in_order(bench: Bench) -> None:
    for sequence in range(5):
        bench.controller.send(bench.chunk(sequence))
    assert [chunk.sequence for chunk in bench.link.take_chunks()] == list(range(5))
    assert bench.link.take_chunks() == []
    bench.controller.send(bench.chunk(5))
    taken = bench.link.take_chunks()
    np.testing.assert_array_equal(taken[0].joint_targets, bench.chunk().joint_targets)
    assert (taken[0].source, taken[0].bundle_id, taken[0].execute_steps) == ("policy", "b1", 10)


def test_an_overflow_of_the_mailbox_is_reported(bench: Bench) -> None:
    for sequence in range(3 * MAILBOX_SLOTS):
        bench.controller.send(bench.chunk(sequence))
    taken = bench.link.take_chunks()
    assert taken[-1].sequence == 3 * MAILBOX_SLOTS - 1
    assert bench.link.missed_chunks + len(taken) == 3 * MAILBOX_SLOTS


def test_a_new_servo_process_ignores_old_chunks_and_takes_over_the_status(bench: Bench, tmp_path: Path) -> None:
    bench.run(10)
    assert bench.controller.status() is not None
    for sequence in range(3):
        bench.controller.send(bench.chunk(sequence))
    second = ServoEnd(tmp_path)
    assert second.take_chunks() == []
    assert bench.controller.status() is None  # the new one has said nothing yet
    bench.controller.send(bench.chunk(7))
    assert [chunk.sequence for chunk in second.take_chunks()] == [7]


def test_a_chunk_torn_by_the_death_of_its_writer_is_never_taken(bench: Bench) -> None:
    bench.controller.send(bench.chunk(0))
    bench.controller._slots[1]._header[0] += 1  # died while writing into this slot
    assert bench.link.take_chunks() == []
    assert bench.link.operator().resumes == 0


def test_the_servo_learns_that_its_controller_has_left(bench: Bench, tmp_path: Path) -> None:
    assert not bench.link.is_orphaned
    bench.controller.close()
    assert bench.link.is_orphaned
    assert bench.link.take_chunks() == []
    with pytest.raises(MolaError, match="owner"):
        ServoEnd(tmp_path)


# --- the histogram ------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200))
def test_percentiles_are_right_to_an_eighth(durations: list[int]) -> None:
    histogram = DurationHistogram()
    for duration in durations:
        histogram.add(duration)
    summary = histogram.summary()
    ordered = sorted(durations)
    exact = ordered[max(0, -(-len(ordered) // 2) - 1)]
    assert summary.max_ns == ordered[-1]
    assert summary.count == len(durations)
    assert exact <= summary.p50_ns <= exact * 1.125 + 1
