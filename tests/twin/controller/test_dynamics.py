"""The arm below the program: how the joints answer to what they are told."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mola_twin.controller.joint_dynamics import JointDynamics
from mola_twin.controller.motions import (
    BRAKE_DECELERATION,
    MAX_ACCELERATION,
    MAX_VELOCITY,
    Freedrive,
    MoveJoints,
    SpeedJoints,
    stop_joints,
)

DT = 0.002
HOME = [0.0, -1.5, 1.5, -1.5, -1.5, 0.0]


def run(joints: JointDynamics, *, seconds: float, scaling: float = 1.0) -> None:
    for _ in range(round(seconds / DT)):
        joints.step(DT, scaling=scaling)


@pytest.mark.parametrize(("lookahead_s", "gain"), [(0.03, 2000.0), (0.1, 300.0), (0.05, 1000.0)])
def test_servoj_follows_a_ramp_with_its_lookahead_as_lag(lookahead_s: float, gain: float) -> None:
    joints = JointDynamics(HOME)
    speed = 0.3
    for step in range(1000):
        target = [value + speed * step * DT for value in HOME]
        joints.servo(target, lookahead_s=lookahead_s, gain=gain)
        joints.step(DT)
    lag = (target[0] - joints.positions[0]) / speed
    assert lag == pytest.approx(lookahead_s + 0.004, abs=0.003)
    assert joints.velocities[0] == pytest.approx(speed, rel=0.01)


def test_servoj_goes_to_the_last_target_and_holds_it() -> None:
    joints = JointDynamics(HOME)
    target = [value + 0.2 for value in HOME]
    joints.servo(target, lookahead_s=0.1, gain=300.0)
    run(joints, seconds=2.0)
    assert joints.positions == pytest.approx(target, abs=1e-4)
    assert joints.speed < 1e-3


@settings(max_examples=25, deadline=None)
@given(
    targets=st.lists(st.lists(st.floats(-6, 6), min_size=6, max_size=6), min_size=1, max_size=6),
    lookahead_s=st.floats(0.0, 0.5),
    gain=st.floats(1.0, 5000.0),
)
def test_servoj_keeps_velocity_and_acceleration_caps(
    targets: list[list[float]], lookahead_s: float, gain: float
) -> None:
    joints = JointDynamics(HOME)
    for target in targets:
        joints.servo(target, lookahead_s=lookahead_s, gain=gain)
        for _ in range(40):
            joints.step(DT)
            assert max(map(abs, joints.reference.velocities)) <= MAX_VELOCITY + 1e-9
            assert max(map(abs, joints.reference.accelerations)) <= MAX_ACCELERATION + 1e-6


@settings(max_examples=25, deadline=None)
@given(
    goal=st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    speed=st.floats(0.2, 3.0),
    acceleration=st.floats(0.5, 20.0),
)
def test_movej_arrives_exactly_within_its_speed_and_acceleration(
    goal: list[float], speed: float, acceleration: float
) -> None:
    joints = JointDynamics(HOME)
    move = MoveJoints(goal=goal, speed=speed, acceleration=acceleration)
    joints.start(move)
    distance = max(abs(a - b) for a, b in zip(goal, HOME, strict=True))
    expected_s = distance / speed + speed / acceleration
    if distance < speed * speed / acceleration:
        expected_s = 2.0 * math.sqrt(distance / acceleration)
    steps = 0
    before = list(joints.reference.velocities)
    while not move.done:
        joints.step(DT)
        steps += 1
        now = joints.reference.velocities
        assert max(map(abs, now)) <= speed + 1e-6
        assert max(abs(a - b) for a, b in zip(now, before, strict=True)) <= 2.01 * acceleration * DT
        before = list(now)
    assert joints.reference.positions == pytest.approx(goal, abs=1e-9)
    assert steps * DT == pytest.approx(expected_s, rel=0.02, abs=3 * DT)


def test_speedj_keeps_moving_without_new_commands_until_stopj() -> None:
    joints = JointDynamics(HOME)
    joints.start(SpeedJoints(velocity=[0.2, 0, 0, 0, 0, 0], acceleration=1.0))
    run(joints, seconds=3.0)
    assert joints.velocities[0] == pytest.approx(0.2, rel=1e-3)
    joints.start(stop_joints(acceleration=2.0))
    run(joints, seconds=0.2)
    assert joints.speed < 1e-3
    assert joints.motion.done


def test_brakes_need_the_time_that_physics_asks_and_resume_continues_the_motion() -> None:
    joints = JointDynamics(HOME)
    goal = [value + 2.0 for value in HOME]
    move = MoveJoints(goal=goal, speed=1.0, acceleration=10.0)
    joints.start(move)
    run(joints, seconds=0.5)
    joints.brake()
    steps = 0
    while joints.speed > 1e-2:
        joints.step(DT)
        steps += 1
    physical = 1.0 / min(BRAKE_DECELERATION)
    assert physical * 0.9 < steps * DT < physical + 0.05
    joints.resume()
    run(joints, seconds=5.0)
    assert joints.positions == pytest.approx(goal, abs=1e-4)


def test_the_speed_slider_slows_the_move_down() -> None:
    full, half = JointDynamics(HOME), JointDynamics(HOME)
    for joints, scaling in ((full, 1.0), (half, 0.5)):
        joints.start(MoveJoints(goal=[v + 1.0 for v in HOME], speed=0.5, acceleration=2.0))
        run(joints, seconds=1.0, scaling=scaling)
    assert half.velocities[0] == pytest.approx(0.25, rel=1e-2)
    assert full.velocities[0] == pytest.approx(0.5, rel=1e-2)


def test_a_hand_moves_the_arm_in_freedrive_and_it_comes_to_rest() -> None:
    joints = JointDynamics(HOME)
    motion = Freedrive()
    joints.start(motion)
    motion.torques = [10.0, 0, 0, 0, 0, 0]
    run(joints, seconds=0.5)
    assert joints.positions[0] > HOME[0] + 0.05
    assert joints.positions[1] == pytest.approx(HOME[1])
    motion.torques = [0.0] * 6
    run(joints, seconds=5.0)
    assert joints.speed < 1e-3
