"""The states of the servo core, with a fake clock and an arm that lags as a real one does."""

from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, FakeClock
from mola_core.contracts.site import Site, load_site
from mola_core.contracts.types import ActionChunk, ActionSpace, RobotMode, SafetyMode
from mola_core.control.collision import CollisionModel
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_types import ChunkOutcome, Rung, ServoCommand, ServoState
from mola_core.control.validation import prepare_chunk

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
HOME = np.array(SITE.arm.home)
PERIOD_NS = 2 * NS_PER_MS
SWING = np.array([0.3, 0.05, 0.08, 0.05, 0.1, 0.2])


@dataclass
class LaggingArm:
    """Is where it was told to be 50 ms ago."""

    robot_mode: RobotMode = RobotMode.RUNNING
    safety_mode: SafetyMode = SafetyMode.NORMAL
    offset: np.ndarray = field(default_factory=lambda: np.zeros(6))
    targets: deque[np.ndarray] = field(default_factory=lambda: deque([HOME] * 25, maxlen=25))

    @property
    def joint_positions(self) -> np.ndarray:
        return self.targets[0] + self.offset


class Rig:
    """A policy, a servo core and an arm in lockstep."""

    def __init__(self, site: Site = SITE) -> None:
        self.site = site
        self.clock = FakeClock(start_ns=10**15)
        self.core = ServoCore(site)
        self.arm = LaggingArm()
        self.sequence = 0
        self.sent: list[np.ndarray] = []
        self.command: ServoCommand = self.tick()

    def tick(self) -> ServoCommand:
        self.clock.advance(PERIOD_NS)
        self.command = self.core.tick(self.clock.now_ns(), self.arm)
        self.arm.targets.append(self.command.joint_target)
        self.sent.append(self.command.joint_target)
        return self.command

    def run(self, seconds: float) -> ServoCommand:
        for _ in range(round(seconds / 0.002)):
            self.tick()
        return self.command

    def run_until(self, state: ServoState, *, within_s: float) -> float:
        """Simulated seconds until ``state`` is reached."""
        start_ns = self.clock.now_ns()
        while self.core.state is not state:
            self.tick()
            elapsed_s = (self.clock.now_ns() - start_ns) / NS_PER_S
            assert elapsed_s <= within_s, f"{self.core.state.name} ({self.command.reason}) after {elapsed_s} s"
        return (self.clock.now_ns() - start_ns) / NS_PER_S

    def engage(self) -> "Rig":
        self.core.resume()
        self.tick()
        assert self.core.state is ServoState.HOLDING
        return self

    def plan(self, **changes: Any) -> ActionChunk:
        """A swing about home as a 30 Hz policy would send it."""
        now_ns = self.clock.now_ns()
        start_ns = changes.get("start_ns", now_ns + 60 * NS_PER_MS)
        rows = np.arange(16) * 33_333_333 + start_ns - 10**15
        targets = HOME + SWING * np.sin(2.0 * rows[:, None] * 1e-9)
        self.sequence += 1
        made = ActionChunk(
            sequence=self.sequence,
            source="policy",
            bundle_id="",
            stamp_ns=now_ns - 30 * NS_PER_MS,
            alive_stamp_ns=now_ns - 10 * NS_PER_MS,
            start_ns=start_ns,
            period_ns=33_333_333,
            space=ActionSpace.JOINT,
            targets=targets,
            gripper_openings=np.linspace(0.0, 1.0, 16),
            execute_steps=8,
            final=False,
        )
        return replace(made, **changes)

    def offer(self, **changes: Any) -> None:
        now_ns = self.clock.now_ns()
        chunk = self.plan(**changes)
        self.core.offer(prepare_chunk(chunk, site=self.site, now_ns=now_ns, commanded=self.command.joint_target))

    def execute(self, seconds: float) -> "Rig":
        """Run with a fresh chunk every 100 ms."""
        for _ in range(round(seconds / 0.1)):
            self.offer()
            self.run(0.1)
        assert self.core.state is ServoState.EXECUTING, self.command.reason
        return self

    def outcome(self, outcome: ChunkOutcome) -> int:
        return self.core.counters.outcomes[outcome]

    def speed(self) -> float:
        return max(abs(v) for v in self.core.motion.velocities)


def derivative(sent: list[np.ndarray], order: int) -> float:
    return float(np.abs(np.diff(np.array(sent), n=order, axis=0)).max()) / 0.002**order


# --- engaging -----------------------------------------------------------------------------------------------------------


def test_a_new_core_is_stopped_and_refuses_chunks_until_resumed() -> None:
    rig = Rig()
    assert rig.core.state is ServoState.STOPPED
    rig.offer()
    rig.run(0.2)
    assert rig.core.state is ServoState.STOPPED
    assert rig.outcome(ChunkOutcome.NOT_ENGAGED) == 1
    assert np.ptp(np.array(rig.sent), axis=0).max() == 0.0
    rig.engage()
    rig.execute(0.5)


def test_a_chunk_that_begins_too_far_away_does_not_start_motion() -> None:
    rig = Rig().engage()
    far = rig.plan().targets.copy()
    far[:, 5] += SITE.arm.engage_delta + 0.2
    rig.offer(targets=far)
    rig.run(0.1)
    assert rig.core.state is ServoState.HOLDING
    assert rig.outcome(ChunkOutcome.TOO_FAR) == 1
    assert rig.speed() == 0.0


def test_another_source_takes_over_only_from_nearby() -> None:
    rig = Rig().engage().execute(0.5)
    far = rig.plan().targets.copy()
    far[:, 5] -= 0.6
    rig.offer(targets=far, source="teleop")
    rig.tick()
    assert rig.outcome(ChunkOutcome.TOO_FAR) == 1
    rig.offer(source="teleop", sequence=0)
    rig.run(0.1)
    assert rig.core.executed_chunk is not None
    assert rig.core.executed_chunk.source == "teleop"


# --- executing ----------------------------------------------------------------------------------------------------------


def test_the_arm_follows_the_plan_at_the_times_of_its_rows() -> None:
    rig = Rig().engage().execute(2.0)
    worst = 0.0
    for _ in range(10):
        rig.offer()
        for _ in range(50):
            rig.tick()
            wanted = HOME + SWING * np.sin(2.0 * (rig.clock.now_ns() - 10**15) * 1e-9)
            # The arm lags by the delay that the site declares, so what it does now is what was planned for now.
            worst = max(worst, float(np.abs(rig.arm.joint_positions - wanted).max()))
    assert worst < 2e-3


def test_rows_that_are_past_are_dropped_and_counted() -> None:
    rig = Rig().engage().execute(1.0)
    before = rig.core.counters.late_rows
    rig.offer(start_ns=rig.clock.now_ns() - 100 * NS_PER_MS)
    rig.tick()
    # 100 ms late and 52 ms of delay to the next tick's effect: rows at -100, -67, -33, 0 and 33 ms
    assert rig.core.counters.late_rows - before == 5
    assert rig.core.state is ServoState.EXECUTING


def test_a_chunk_out_of_order_is_refused() -> None:
    rig = Rig().engage().execute(0.3)
    rig.offer(sequence=1)
    rig.tick()
    assert rig.outcome(ChunkOutcome.OUT_OF_ORDER) == 1


def test_of_several_chunks_between_two_ticks_the_newest_counts() -> None:
    rig = Rig().engage().execute(0.3)
    for _ in range(3):
        rig.offer()
    rig.tick()
    assert rig.outcome(ChunkOutcome.SUPERSEDED) == 2
    rig.run(0.1)
    assert rig.core.executed_chunk is not None
    assert rig.core.executed_chunk.sequence == rig.sequence


def test_a_chunk_for_later_lets_the_present_one_go_on() -> None:
    rig = Rig().engage().execute(0.5)
    first = rig.core.executed_chunk
    rig.offer(start_ns=rig.clock.now_ns() + 200 * NS_PER_MS)
    rig.run(0.1)
    assert rig.core.executed_chunk is first
    rig.run(0.1)
    assert rig.core.executed_chunk is not first


def test_disagreeing_chunks_are_spliced_within_the_limits() -> None:
    rig = Rig().engage().execute(0.5)
    for sign in (1, -1) * 5:
        shifted = rig.plan().targets + sign * 0.08
        rig.offer(targets=shifted)
        rig.run(0.1)
    assert rig.core.state is ServoState.EXECUTING
    for order, bound in ((1, SITE.arm.velocity_max), (2, SITE.arm.acceleration_max), (3, SITE.arm.jerk_max)):
        steps = np.abs(np.diff(np.array(rig.sent), n=order, axis=0)).max(axis=0) / 0.002**order
        assert (steps <= np.array(bound) * (1 + 1e-6) + 1e-3).all()


def test_stalls_of_the_loop_do_not_make_the_arm_overshoot() -> None:
    rig = Rig().engage()
    random = np.random.default_rng(3)
    for _ in range(80):
        rig.offer()
        for _ in range(25):
            if random.random() < 0.01:
                rig.clock.advance(int(random.integers(4, 100)) * NS_PER_MS)
            rig.tick()
        if rig.core.state is ServoState.STOPPED:
            rig.engage()
    excess = np.abs(np.array(rig.sent) - HOME) - SWING
    assert rig.core.counters.outcomes[ChunkOutcome.ACCEPTED] > 30
    assert excess.max() < 0.01


def test_noise_in_the_rows_stays_about_that_small_in_the_motion() -> None:
    rig = Rig().engage()
    random = np.random.default_rng(4)
    for _ in range(40):
        noisy = HOME + random.normal(0.0, 0.01, (16, 6))
        rig.offer(targets=noisy)
        rig.run(0.1)
    assert np.abs(np.array(rig.sent) - HOME).max() < 0.06


def test_the_same_plan_sent_again_does_not_disturb_the_motion() -> None:
    rig = Rig().engage()
    plan = rig.plan()
    for _ in range(4):
        now_ns = rig.clock.now_ns()
        again = replace(plan, sequence=rig.sequence, alive_stamp_ns=now_ns - 10 * NS_PER_MS)
        rig.sequence += 1
        rig.core.offer(prepare_chunk(again, site=SITE, now_ns=now_ns, commanded=HOME))
        rig.run(0.1)
    once = Rig().engage()
    once.core.offer(prepare_chunk(once.plan(), site=SITE, now_ns=once.clock.now_ns(), commanded=HOME))
    once.run(0.14)
    np.testing.assert_array_equal(rig.sent[: len(once.sent)], once.sent)
    assert rig.core.counters.splices == 1


def test_the_gripper_follows_the_rows_and_keeps_its_last_target() -> None:
    rig = Rig().engage()
    assert rig.command.gripper_target is None
    rig.offer(gripper_openings=np.full(16, 0.7), final=True)
    rig.run(0.3)
    assert rig.command.gripper_target == 0.7
    rig.core.stop("operator")
    rig.run(1.0)
    assert rig.command.gripper_target == 0.7


def test_camera_to_servo_latency_is_taken_at_the_first_executed_row() -> None:
    rig = Rig().engage()
    rig.offer(stamp_ns=rig.clock.now_ns() - 30 * NS_PER_MS)
    rig.run(0.1)
    summary = rig.core.latency.summary()
    assert summary.count == 1
    # 30 ms old when sent, due 60 ms later less 50 ms of delay, and the tick itself
    assert 40 * NS_PER_MS <= summary.max_ns <= 44 * NS_PER_MS


# --- ending -------------------------------------------------------------------------------------------------------------


def test_a_final_chunk_ends_in_holding_at_its_last_row_still_engaged() -> None:
    rig = Rig().engage()
    goal = HOME + 0.1
    targets = HOME + 0.1 * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 16)))[:, None]
    for _ in range(6):
        rig.offer(targets=targets, start_ns=10**15 + 60 * NS_PER_MS, final=True)
        rig.run(0.1)
    rig.run_until(ServoState.HOLDING, within_s=0.3)
    np.testing.assert_allclose(rig.command.joint_target, goal, atol=3e-4)
    assert rig.core.motion.is_at_rest
    rig.run(1.0)
    assert rig.core.state is ServoState.HOLDING
    assert rig.core.counters.stops == 0
    assert derivative(rig.sent, 3) < max(SITE.arm.jerk_max)


def test_without_fresh_inputs_the_arm_brakes_at_150_ms_and_stays_stopped() -> None:
    rig = Rig().engage().execute(1.0)
    assert rig.speed() > 0.1
    alive_ns = rig.core.alive_stamp_ns
    rig.run_until(ServoState.BRAKING, within_s=0.2)
    age_ms = (rig.clock.now_ns() - alive_ns) / NS_PER_MS
    assert 150 < age_ms <= 152
    assert "stale" in rig.command.reason
    expected_s = rig.core.brake_duration_s
    assert 0.05 < expected_s < 0.12
    assert rig.run_until(ServoState.STOPPED, within_s=0.2) == pytest.approx(expected_s, abs=0.003)
    rig.offer()
    rest = rig.run(0.5)
    assert rest.state is ServoState.STOPPED
    assert rig.outcome(ChunkOutcome.NOT_ENGAGED) == 1
    rig.engage()


def test_a_source_that_sees_but_sends_no_plan_uses_up_the_reserve_and_then_stops() -> None:
    site = SITE.model_copy(update={"safety": SITE.safety.model_copy(update={"stale_ms": 2000})})
    rig = Rig(site).engage().execute(0.5)
    reserve_before = rig.core.counters.ladder_ticks[Rung.RESERVE]
    rig.run_until(ServoState.STOPPED, within_s=1.0)
    assert "ran out" in rig.command.reason
    # rows 8 to 15 of 33 ms each
    assert rig.core.counters.ladder_ticks[Rung.RESERVE] - reserve_before == pytest.approx(8 * 33.3 / 2, abs=3)


def test_stop_wins_over_resume_and_is_latched() -> None:
    rig = Rig().engage().execute(1.0)
    rig.core.resume()
    rig.core.stop("door opened")
    rig.run_until(ServoState.STOPPED, within_s=0.4)
    assert rig.command.reason == "door opened"
    rig.offer()
    assert rig.run(0.3).state is ServoState.STOPPED


def test_resume_while_braking_is_not_remembered() -> None:
    rig = Rig().engage().execute(1.0)
    rig.core.stop("operator")
    rig.tick()
    rig.core.resume()
    rig.run(0.6)
    assert rig.core.state is ServoState.STOPPED


@pytest.mark.parametrize("mode", [SafetyMode.PROTECTIVE_STOP, SafetyMode.ROBOT_EMERGENCY_STOP, SafetyMode.FAULT])
def test_a_safety_stop_of_the_controller_stops_and_forbids_resuming(mode: SafetyMode) -> None:
    rig = Rig().engage().execute(0.5)
    rig.arm.safety_mode = mode
    rig.tick()
    assert rig.core.state is ServoState.BRAKING
    rig.run_until(ServoState.STOPPED, within_s=0.4)
    assert mode.name in rig.command.reason
    rig.core.resume()
    assert rig.tick().state is ServoState.STOPPED
    assert "cannot resume" in rig.command.reason
    rig.arm.safety_mode = SafetyMode.NORMAL
    rig.engage()


def test_an_arm_that_is_held_back_is_noticed() -> None:
    rig = Rig().engage().execute(0.5)
    rig.arm.offset = np.array([0.0, 0.0, 0.4, 0.0, 0.0, 0.0])
    rig.tick()
    assert rig.core.state is ServoState.BRAKING
    assert "joint 2" in rig.command.reason


def test_resuming_after_the_arm_was_moved_starts_from_where_it_is() -> None:
    rig = Rig()
    rig.arm.offset = np.full(6, 0.05)
    rig.run(0.1)
    rig.engage()
    np.testing.assert_allclose(rig.command.joint_target, HOME + 0.05)


def test_an_arm_left_a_little_outside_may_move_back_in_but_not_further_out() -> None:
    outside = np.array(SITE.arm.home)
    model = CollisionModel(SITE)
    while model.outer_margins(outside.tolist())[0] > -0.005:
        outside[0] += 0.01
    for direction in (1.0, -1.0):
        rig = Rig()
        rig.arm.targets.extend([outside] * 25)
        rig.core = ServoCore(SITE)
        rig.tick()
        rig.engage()
        for step in range(8):
            rig.offer(targets=outside + np.outer(np.arange(1, 17) + 3 * step, [direction * 0.01, 0, 0, 0, 0, 0]))
            rig.run(0.1)
        margins = [model.outer_margins(sent.tolist())[0] for sent in rig.sent[-400:]]
        assert min(margins) > -0.005 - 0.011
        assert (margins[-1] > 0.01) == (direction < 0)


def test_resuming_far_outside_the_workspace_is_refused_with_the_reason() -> None:
    rig = Rig()
    rig.arm.offset = np.array([2.0, 0, 0, 0, 0, 0])
    rig.core.resume()
    rig.tick()
    assert rig.core.state is ServoState.STOPPED
    assert "edge of the workspace" in rig.command.reason


# --- walls --------------------------------------------------------------------------------------------------------------


def test_a_plan_through_the_table_is_held_above_it() -> None:
    rig = Rig().engage()
    seen = set()
    for _ in range(25):
        down = rig.command.joint_target + np.outer(np.arange(1, 17), [0, 0.02, 0.015, 0, 0, 0])
        rig.offer(targets=down)
        rig.run(0.08)
        seen.add(rig.command.reason)
        if rig.core.state is not ServoState.EXECUTING:
            break
    assert rig.core.counters.filtered_ticks > 0
    assert any("table" in reason or "workspace" in reason for reason in seen), seen
    assert rig.core._filter._proof._outer._margins(rig.core.motion.positions) >= (0.0, 0.0)
