"""Letting go, and guiding the arm by hand: what the servo core and its loop do when a person is in charge."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.teleop import HAND_SOURCE
from mola_core.control.brake import plan_brake
from mola_core.control.motion import MotionLimits
from mola_core.control.servo_types import ChunkOutcome, ServoState
from mola_core.control.validation import prepare_chunk

sys.path.append(str(Path(__file__).parent))  # import mode importlib does not
from test_control_servo_core import HOME, SITE, Rig, derivative
from test_control_servo_loop import Bench


def release(rig: Rig, *, source: str = "policy") -> None:
    here = rig.command.joint_target
    rig.offer(
        source=source,
        start_ns=rig.clock.now_ns(),
        targets=here[None],
        gripper_openings=np.array([0.25]),
        execute_steps=0,
        final=True,
    )


def test_a_release_brings_the_arm_to_rest_as_fast_as_its_limits_allow_and_leaves_it_engaged():
    rig = Rig().engage().execute(1.0)
    limits = MotionLimits.of(SITE.arm, fraction=0.999)
    shortest_s = plan_brake(rig.core.motion, limits).duration_s
    release(rig)
    took_s = rig.run_until(ServoState.HOLDING, within_s=1.0)
    assert took_s == pytest.approx(shortest_s, abs=0.02)
    assert rig.speed() == 0.0
    assert rig.command.gripper_target == 0.25
    assert derivative(rig.sent, 3) <= 1.01 * max(SITE.arm.jerk_max)
    rig.execute(0.3)


def test_while_it_comes_to_rest_the_arm_stays_engaged_and_may_be_taken_again():
    rig = Rig().engage().execute(1.0)
    release(rig)
    states = set()
    for _ in range(20):
        rig.tick()
        states.add(rig.core.state)
    assert states == {ServoState.EXECUTING}
    rig.execute(0.3)
    assert rig.speed() > 0.1
    assert rig.core.counters.stops == 0


def test_a_release_of_a_source_that_moves_nothing_stops_nobody():
    rig = Rig().engage().execute(1.0)
    release(rig, source="teleop/spacemouse")
    rig.run(0.02)
    assert rig.outcome(ChunkOutcome.LATE) == 1
    assert rig.core.state is ServoState.EXECUTING
    assert rig.speed() > 0.1


def test_a_release_of_an_arm_at_rest_is_no_news():
    rig = Rig().engage()
    release(rig)
    rig.run(0.1)
    assert rig.core.state is ServoState.HOLDING
    assert rig.core.counters.stops == 0


def test_only_a_final_chunk_may_say_that_none_of_it_is_executed():
    rig = Rig().engage()
    chunk = rig.plan(execute_steps=0)
    with pytest.raises(ChunkRejectedError, match=r"execute_steps = 0 .* only if it is final"):
        prepare_chunk(chunk, site=SITE, now_ns=rig.clock.now_ns(), commanded=HOME)


def by_hand(rig: Rig, *, seconds: float, speed: float = 0.0) -> None:
    """The arm follows the hand, not its targets."""
    for _ in range(round(seconds / 0.002)):
        rig.arm.offset = rig.arm.offset + speed * 0.002
        held = rig.arm.joint_positions
        rig.tick()
        rig.arm.offset = rig.arm.offset + held - rig.arm.joint_positions


def test_guided_by_hand_what_is_commanded_is_what_is_measured_and_chunks_are_refused():
    rig = Rig().engage()
    rig.core.guide_by_hand(True)
    by_hand(rig, seconds=0.5, speed=0.3)
    assert rig.core.state is ServoState.GUIDED
    np.testing.assert_allclose(rig.command.joint_target, rig.arm.joint_positions, atol=1e-3)
    assert np.abs(rig.command.joint_target - HOME).max() == pytest.approx(0.15, abs=0.01)
    rig.offer()
    by_hand(rig, seconds=0.01)
    assert rig.outcome(ChunkOutcome.NOT_ENGAGED) == 1


def test_after_the_hand_let_go_the_arm_is_engaged_where_it_came_to_rest():
    rig = Rig().engage()
    rig.core.guide_by_hand(True)
    by_hand(rig, seconds=0.3, speed=0.3)
    rig.core.guide_by_hand(False)
    by_hand(rig, seconds=0.04, speed=0.1)
    assert rig.core.state is ServoState.SETTLING
    by_hand(rig, seconds=0.2)
    assert rig.core.state is ServoState.HOLDING
    np.testing.assert_allclose(rig.command.joint_target, rig.arm.joint_positions, atol=1e-4)
    assert rig.core.counters.stops == 0


def test_a_hand_that_takes_the_arm_from_a_policy_gets_it_at_rest():
    rig = Rig().engage().execute(1.0)
    rig.core.guide_by_hand(True)
    took_s = rig.run_until(ServoState.GUIDED, within_s=0.3)
    assert took_s > 0.02
    assert rig.core.counters.stops == 0


def test_the_operators_stop_ends_guidance():
    rig = Rig().engage()
    rig.core.guide_by_hand(True)
    by_hand(rig, seconds=0.1)
    rig.core.stop("enough")
    by_hand(rig, seconds=0.01)
    assert rig.core.state is ServoState.STOPPED


def test_the_loop_frees_the_drives_feeds_the_watchdog_and_holds_when_the_wish_lapses(tmp_path: Path):
    bench = Bench(tmp_path)
    calls: list[str] = []
    bench.arm.stop = lambda *, deceleration: calls.append("leave servo")
    bench.arm.start_freedrive = lambda: calls.append("free")
    bench.arm.stop_freedrive = lambda: calls.append("hold")
    bench.arm.keep_alive = lambda: calls.append("kick")
    sources: list[str] = []

    def look() -> None:
        status = bench.controller.status()
        assert status is not None
        sources.append(f"{status.state.name} {status.source}")

    script = {10: bench.controller.resume, 20: bench.controller.guide_by_hand, 60: look, 90: look}
    bench.run(250, script)
    assert calls[:2] == ["leave servo", "free"]
    assert calls.count("free") == calls.count("hold") == 1
    assert sources[0] == f"GUIDED {HAND_SOURCE}"
    # 150 ms of guidance are 75 ticks, then 25 ticks of rest
    assert calls.count("kick") == pytest.approx(100, abs=4)
    assert bench.arm.sent[-1][0] > 200 * 2 * NS_PER_MS
