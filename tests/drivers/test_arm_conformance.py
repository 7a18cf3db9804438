"""What every arm must do, simulated or real: the UR5e driver runs against the twin's controller process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, FakeClock, SystemClock
from mola_core.contracts.errors import ArmError
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.site import ArmSpec, ServoSpec
from mola_core.contracts.types import RobotMode, SafetyMode
from mola_core.control.kinematics import forward_kinematics
from mola_drivers.arm.protocol import Arm, ArmReading
from mola_drivers.arm.sim_arm import SimArm
from mola_drivers.arm.ur5e import Ur5e

HOME = (0.0, -1.5708, 1.5708, -1.5708, -1.5708, 0.0)
TCP_OFFSET = (0.0, 0.01, 0.163, 0.0, 0.0, 0.3)
PERIOD_NS = 2 * NS_PER_MS


def spec_for(host: str) -> ArmSpec:
    # the most patient watchdog, and below the most patient link: the machine that runs the tests may be busy
    servo = ServoSpec(watchdog_hz=10)
    return ArmSpec(
        host=host, home=HOME, tcp_offset=TCP_OFFSET, payload_kg=1.0, payload_cog=(0.0, 0.0, 0.06), servo=servo
    )


def tcp_pose(joint_positions: np.ndarray) -> np.ndarray:
    return pose_from_transform(forward_kinematics(joint_positions, TCP_OFFSET))


@dataclass
class Rig:
    """An arm, its clock, and the hands that can hurt it."""

    arm: Arm
    clock: Clock
    protective_stop: Callable[[], None]
    emergency_stop: Callable[[], None]
    local_mode: Callable[[], None]
    push: Callable[[], None]
    digital_outputs: Callable[[], list[bool]]

    def stream(self, target: np.ndarray, *, seconds: float) -> ArmReading:
        """Servo to ``target`` at 500 Hz, in steps that the arm can follow."""
        here = self.arm.read().joint_positions
        steps = round(seconds * 500)
        for step in range(1, steps + 1):
            self.arm.servo(here + (target - here) * min(1.0, 2 * step / steps))
            self._tick()
        return self.arm.read()

    def keep_alive(self, *, seconds: float) -> ArmReading:
        for _ in range(round(seconds * 500)):
            self.arm.keep_alive()
            self._tick()
        return self.arm.read()

    def wait(self, *, seconds: float) -> ArmReading:
        self.clock.sleep_until(self.clock.monotonic_ns() + round(seconds * NS_PER_S))
        return self.arm.read()

    def _tick(self) -> None:
        self.clock.sleep_until(self.clock.monotonic_ns() + PERIOD_NS)


def sim_rig() -> Rig:
    clock = FakeClock()
    arm = SimArm(spec=spec_for("127.0.0.9"), clock=clock, forward_kinematics=tcp_pose)

    def local_mode() -> None:
        arm.remote_control = False

    return Rig(
        arm=arm,
        clock=clock,
        protective_stop=arm.protective_stop,
        emergency_stop=arm.emergency_stop,
        local_mode=local_mode,
        push=lambda: arm.push(arm.read().joint_positions + 0.1),
        digital_outputs=lambda: list(arm.digital_outputs),
    )


@pytest.fixture(params=["sim", "ur5e"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig whose arm is not connected yet."""
    if request.param == "sim":
        yield sim_rig()
        return
    twin = request.getfixturevalue("twin")
    clock = SystemClock()
    yield Rig(
        arm=Ur5e(spec=spec_for(twin.host), clock=clock, alive_timeout_ns=NS_PER_S),
        clock=clock,
        protective_stop=lambda: twin.faults.fault("protective_stop"),
        emergency_stop=lambda: twin.faults.fault("emergency_stop"),
        local_mode=lambda: twin.faults.fault("local_mode"),
        push=lambda: twin.faults.fault("hand", torques=[0.0, 0.0, 0.0, 0.0, 0.0, 3.0], seconds=0.3),
        digital_outputs=lambda: [bool(twin.faults.status()["digital_outputs"] >> bit & 1) for bit in range(8)],
    )


def servo_until_refused(rig: Rig) -> str:
    target = rig.arm.read().joint_positions
    try:
        for _ in range(1000):
            rig.arm.servo(target)
            rig.wait(seconds=0.002)
    except ArmError as error:
        return str(error)
    pytest.fail("every target was accepted")


def test_constructor_touches_nothing(rig):
    assert not rig.arm.is_alive
    with pytest.raises(ArmError, match="not connected"):
        rig.arm.read()
    with pytest.raises(ArmError, match="not connected"):
        rig.arm.servo(np.array(HOME))


def test_reads_follows_stops_and_refuses_nonsense(rig):
    """One connection, the way a session goes; a real controller takes more than a second for each."""
    with rig.arm as arm:
        first = arm.read()
        assert arm.is_alive
        assert (first.robot_mode, first.safety_mode) == (RobotMode.RUNNING, SafetyMode.NORMAL)
        assert first.program_running
        assert first.speed_scaling == pytest.approx(1.0)
        np.testing.assert_allclose(first.base_from_tcp, tcp_pose(first.joint_positions), atol=2e-4)
        start = first.joint_positions

        _nonsense_is_refused(rig, start)
        _a_reading_is_stamped_once(rig, start)

        target = start + np.array([0.05, -0.04, 0.03, 0.02, -0.05, 0.1])
        arrived = rig.stream(target, seconds=1.0)
        np.testing.assert_allclose(arrived.joint_positions, target, atol=0.005)
        np.testing.assert_allclose(arrived.base_from_tcp, tcp_pose(arrived.joint_positions), atol=1e-3)

        held = rig.keep_alive(seconds=0.3)
        assert held.program_running
        np.testing.assert_allclose(held.joint_positions, target, atol=0.005)

        _stop_comes_to_rest_and_goes_on(rig, start)
        _freedrive_yields_and_holds(rig)

        arm.set_digital_output(output=3, high=True)
        rig.keep_alive(seconds=0.1)
        assert rig.digital_outputs() == [False, False, False, True, False, False, False, False]
        arm.set_digital_output(output=3, high=False)
        with pytest.raises(ValueError, match=r"0\.\.7"):
            arm.set_digital_output(output=8, high=True)
    with pytest.raises(ArmError, match="not connected"):
        rig.arm.read()


def _nonsense_is_refused(rig: Rig, start: np.ndarray) -> None:
    nonsense = [
        np.full(6, np.nan),
        np.array([0.0, 0.0, np.inf, 0.0, 0.0, 0.0]),
        np.zeros(5),
        np.zeros(7),
        np.zeros((1, 6)),
        np.array([]),
    ]
    for bad in nonsense:
        with pytest.raises(ValueError, match="6 finite joint positions"):
            rig.arm.servo(bad)
    for bad_deceleration in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="deceleration"):
            rig.arm.stop(deceleration=bad_deceleration)
    np.testing.assert_allclose(rig.keep_alive(seconds=0.1).joint_positions, start, atol=1e-3)


def _a_reading_is_stamped_once(rig: Rig, start: np.ndarray) -> None:
    readings = []
    for _ in range(100):
        rig.arm.keep_alive()
        readings += [rig.arm.read() for _ in range(3)]
        rig.wait(seconds=0.002)
    by_time = {}
    for reading in readings:
        stamps = (reading.received_ns, reading.stamp_ns)
        assert by_time.setdefault(reading.controller_time_s, stamps) == stamps
    assert len(by_time) > 50
    times = list(by_time)
    assert times == sorted(times)
    received = [stamps[0] for stamps in by_time.values()]
    assert received == sorted(received)


def _stop_comes_to_rest_and_goes_on(rig: Rig, start: np.ndarray) -> None:
    here = rig.arm.read().joint_positions
    for step in range(150):
        rig.arm.servo(here + np.array([0.4, 0.0, 0.0, 0.0, 0.0, 0.0]) * step / 500)
        rig.wait(seconds=0.002)
    assert np.abs(rig.arm.read().joint_velocities).max() > 0.1
    rig.arm.stop(deceleration=2.0)
    stopped = rig.keep_alive(seconds=0.1)
    assert np.abs(stopped.joint_velocities).max() < 0.02
    assert stopped.program_running
    assert rig.stream(start, seconds=1.0).joint_positions == pytest.approx(start, abs=0.005)


def _freedrive_yields_and_holds(rig: Rig) -> None:
    rig.arm.stop(deceleration=2.0)
    before = rig.keep_alive(seconds=0.05).joint_positions
    rig.arm.start_freedrive()
    rig.push()
    pushed = rig.keep_alive(seconds=0.6)
    assert np.abs(pushed.joint_positions - before).max() > 0.01
    assert pushed.program_running
    rig.arm.stop_freedrive()
    here = rig.keep_alive(seconds=0.3).joint_positions
    rig.push()
    np.testing.assert_allclose(rig.keep_alive(seconds=0.4).joint_positions, here, atol=1e-3)


def test_silence_ends_the_program(rig):
    with rig.arm:
        rig.stream(rig.arm.read().joint_positions + 0.05, seconds=0.3)
        reading = rig.wait(seconds=0.5)
        assert not reading.program_running
        assert np.abs(reading.joint_velocities).max() < 1e-3
        assert rig.arm.is_alive
        with pytest.raises(ArmError, match="program on the controller has stopped"):
            rig.arm.servo(reading.joint_positions)


def test_protective_stop_refuses_until_unlocked(rig):
    with rig.arm:
        rig.protective_stop()
        assert "PROTECTIVE_STOP" in servo_until_refused(rig)
        stopped = rig.wait(seconds=0.3)
        assert stopped.safety_mode is SafetyMode.PROTECTIVE_STOP
        assert np.abs(stopped.joint_velocities).max() < 1e-3
        rig.arm.unlock_protective_stop()
        start = rig.arm.read().joint_positions
        np.testing.assert_allclose(start, stopped.joint_positions, atol=1e-3)  # unlocking moves nothing
        assert rig.stream(start + 0.03, seconds=0.5).joint_positions == pytest.approx(start + 0.03, abs=0.005)
        with pytest.raises(ArmError, match="no protective stop to unlock"):
            rig.arm.unlock_protective_stop()
        rig.keep_alive(seconds=0.01)


@pytest.mark.parametrize("rig", ["sim", pytest.param("ur5e", marks=pytest.mark.slow)], indirect=True)
def test_protective_stop_forbids_connecting_until_unlocked(rig):
    rig.protective_stop()
    rig.clock.sleep_until(rig.clock.monotonic_ns() + 50 * NS_PER_MS)
    with pytest.raises(ArmError, match="PROTECTIVE_STOP"):
        rig.arm.__enter__()
    rig.arm.unlock_protective_stop()
    with rig.arm as arm:
        assert arm.read().safety_mode is SafetyMode.NORMAL


def test_emergency_stop_refuses_and_names_the_cure(rig):
    with rig.arm:
        rig.emergency_stop()
        assert "release the emergency stop" in servo_until_refused(rig)
    with pytest.raises(ArmError, match="ROBOT_EMERGENCY_STOP; release the emergency stop"):
        rig.arm.__enter__()


def test_local_mode_is_named_with_its_cure(rig):
    rig.local_mode()
    with pytest.raises(ArmError, match="local control; switch it to Remote Control"):
        rig.arm.__enter__()
