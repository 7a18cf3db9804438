"""What every teleoperation device must do; so far there is the scripted one."""

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import LeaderJoints, Twist, TwistFrame
from mola_drivers.teleop.factory import ScriptedTeleopSpec, make_teleop
from mola_drivers.teleop.protocol import TeleopDevice
from mola_drivers.teleop.scripted import ScriptedStep, ScriptedTeleop

FORWARD = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
TURN = (0.0, 0.0, 0.0, 0.0, 0.0, 0.5)
START_NS = 1_750_000_000 * NS_PER_S


def scripted() -> TeleopDevice:
    spec = ScriptedTeleopSpec.model_validate(
        {
            "kind": "scripted",
            "steps": [
                {"duration_s": 1.0, "velocity": FORWARD},
                {"duration_s": 0.5, "velocity": TURN, "frame": "tcp", "gripper_opening": 0.0, "enabled": False},
            ],
        }
    )
    return make_teleop(spec=spec)


@pytest.fixture(params=[scripted])
def device(request: pytest.FixtureRequest) -> TeleopDevice:
    made: TeleopDevice = request.param()
    return made


def test_a_closed_device_says_so(device):
    with pytest.raises(TeleopError, match="not open"):
        device.read(START_NS)


def test_commands_carry_the_time_of_reading(device):
    with device:
        for offset_ns in (0, 10, NS_PER_S, 5 * NS_PER_S):
            command = device.read(START_NS + offset_ns)
            assert command.stamp_ns == START_NS + offset_ns
            assert command.alive


def test_a_motion_has_six_finite_numbers(device):
    with device:
        motion = device.read(START_NS).motion
    values = motion.velocity if isinstance(motion, Twist) else motion.joint_positions
    assert values.shape == (6,)
    assert np.isfinite(values).all()


def test_steps_are_played_in_time():
    with scripted() as device:
        first = device.read(START_NS)
        second = device.read(START_NS + NS_PER_S)
        last = device.read(START_NS + NS_PER_S * 3 // 2)
    assert first.motion.frame is TwistFrame.BASE
    np.testing.assert_array_equal(first.motion.velocity, FORWARD)
    assert (first.enabled, first.gripper_opening) == (True, None)
    assert second.motion.frame is TwistFrame.TCP
    np.testing.assert_array_equal(second.motion.velocity, TURN)
    assert (second.enabled, second.gripper_opening) == (False, 0.0)
    assert not last.enabled
    assert not last.motion.velocity.any()


def test_opened_again_it_starts_over():
    device = scripted()
    with device:
        device.read(START_NS)
        assert not device.read(START_NS + 10 * NS_PER_S).enabled
    with device:
        assert device.read(START_NS + 20 * NS_PER_S).enabled


def test_a_leader_gives_joint_positions():
    leader = LeaderJoints(joint_positions=np.arange(6.0))
    with ScriptedTeleop([ScriptedStep(duration_s=1.0, motion=leader)]) as device:
        assert device.read(START_NS).motion is leader


def test_a_step_without_duration_is_refused():
    motion = Twist(velocity=np.zeros(6), frame=TwistFrame.BASE)
    with pytest.raises(ValueError, match=r"step 0 .* lasts 0"):
        ScriptedTeleop([ScriptedStep(duration_s=0.0, motion=motion)])
