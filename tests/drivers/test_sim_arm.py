"""What the simulated arm adds to the conformance suite: its dynamics, and the faults that only it can have in process."""

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, FakeClock
from mola_core.contracts.errors import ArmError
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.site import ArmSpec
from mola_core.control.kinematics import forward_kinematics
from mola_drivers.arm.protocol import ALIVE_TIMEOUT_NS, ArmLinkError
from mola_drivers.arm.sim_arm import TOP_ACCELERATION, TOP_SPEED, SimArm

HOME = np.array([0.0, -1.5708, 1.5708, -1.5708, -1.5708, 0.0])


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def arm(clock):
    spec = ArmSpec(host="127.0.0.9", home=tuple(HOME), tcp_offset=(0.0,) * 6, payload_kg=1.0)
    return SimArm(spec=spec, clock=clock, forward_kinematics=lambda q: pose_from_transform(forward_kinematics(q)))


def follow(arm, clock, target, *, ticks):
    readings = []
    for _ in range(ticks):
        arm.servo(target)
        clock.advance(2 * NS_PER_MS)
        readings.append(arm.read())
    return readings


def test_it_lags_and_arrives(arm, clock):
    with arm:
        readings = follow(arm, clock, HOME + 0.1, ticks=500)
    assert np.all(readings[10].joint_positions < HOME + 0.09)
    np.testing.assert_allclose(readings[-1].joint_positions, HOME + 0.1, atol=1e-3)


def test_no_target_makes_it_faster_than_a_ur5e(arm, clock):
    with arm:
        readings = follow(arm, clock, HOME + 3.0, ticks=300)
    velocities = np.array([reading.joint_velocities for reading in readings])
    assert np.abs(velocities).max() == pytest.approx(TOP_SPEED, abs=0.01)
    assert np.abs(np.diff(velocities, axis=0)).max() / 0.002 <= TOP_ACCELERATION * 1.001


def test_velocity_is_the_derivative_of_position(arm, clock):
    with arm:
        readings = follow(arm, clock, HOME + 0.3, ticks=200)
    positions = np.array([reading.joint_positions for reading in readings])
    velocities = np.array([reading.joint_velocities for reading in readings])
    np.testing.assert_allclose(np.diff(positions, axis=0) / 0.002, velocities[1:], atol=1e-9)


def test_speed_scaling_slows_it(arm, clock):
    arm.speed_scaling = 0.5
    with arm:
        readings = follow(arm, clock, HOME + 3.0, ticks=100)
    assert np.abs(readings[-1].joint_velocities).max() == pytest.approx(TOP_SPEED / 2, rel=0.01)
    assert readings[-1].speed_scaling == 0.5


def test_silence_keeps_the_old_reading_and_then_counts_as_dead(arm, clock):
    with arm:
        last = follow(arm, clock, HOME + 0.1, ticks=20)[-1]
        arm.silence()
        clock.advance(10 * NS_PER_MS)
        arm.servo(HOME + 0.2)  # nobody can know yet
        assert arm.read() is last
        assert arm.is_alive
        clock.advance(ALIVE_TIMEOUT_NS)
        assert not arm.is_alive
        with pytest.raises(ArmLinkError, match="dead"):
            arm.servo(HOME)
        with pytest.raises(ArmLinkError, match="dead"):
            arm.keep_alive()
        assert arm.read() is last
    assert not np.array_equal(arm.targets[-1], HOME + 0.2)


def test_an_arm_that_is_not_there_is_named(arm):
    arm.reachable = False
    with pytest.raises(ArmError, match=r"no answer from 127\.0\.0\.9"):
        arm.__enter__()
