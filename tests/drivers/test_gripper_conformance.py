"""What every gripper must do: the simulated one, a Robotiq on the twin's socket, one on the twin's digital output."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock, FakeClock, SystemClock
from mola_core.contracts.errors import GripperError
from mola_core.contracts.site import DigitalGripperSpec, NoGripperSpec, RobotiqGripperSpec
from mola_drivers.gripper.digital import DigitalGripper
from mola_drivers.gripper.factory import make_gripper
from mola_drivers.gripper.protocol import Gripper, GripperState
from mola_drivers.gripper.robotiq import RobotiqGripper
from mola_drivers.gripper.sim_gripper import SimGripper


@dataclass
class Rig:
    gripper: Gripper
    clock: Clock
    jam: Callable[[bool], None] | None
    """Makes the fingers stick, or frees them; None where nobody could notice."""

    def wait_for(self, condition: Callable[[GripperState], bool], what: str, *, limit_s: float = 20.0) -> GripperState:
        deadline_ns = self.clock.monotonic_ns() + round(limit_s * NS_PER_S)
        while not condition(state := self.gripper.state()):
            assert self.clock.monotonic_ns() < deadline_ns, f"waited {limit_s:g} s for {what}; state {state}"
            self.clock.sleep_until(self.clock.monotonic_ns() + 5 * NS_PER_MS)
        return state


@pytest.fixture(params=["sim", "robotiq", "digital"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    clock: Clock = SystemClock()
    if request.param == "sim":
        clock = FakeClock()
        sim = SimGripper(clock=clock)

        def jam(on: bool) -> None:
            sim.jammed = on

        yield Rig(sim, clock, jam)
        return
    twin = request.getfixturevalue("twin")
    if request.param == "robotiq":
        spec = RobotiqGripperSpec(kind="robotiq_2f", host=twin.host, rate_hz=60)
        gripper: Gripper = RobotiqGripper(spec=spec, clock=clock)
        yield Rig(gripper, clock, lambda on: twin.faults.fault("gripper_stuck", on=on))
    else:
        digital = DigitalGripperSpec(kind="digital", host=twin.host, output=2, travel_s=0.2)
        yield Rig(DigitalGripper(spec=digital, clock=clock), clock, None)


def settled(opening: float) -> Callable[[GripperState], bool]:
    def reached(state: GripperState) -> bool:
        return state.opening == pytest.approx(opening, abs=0.03) and not state.moving

    return reached


def test_constructor_touches_nothing_and_invents_nothing(rig):
    state = rig.gripper.state()
    assert state.opening is None
    assert state.stamp_ns == 0


def test_moves_and_reports(rig):
    with rig.gripper as gripper:
        rig.wait_for(lambda state: state.opening is not None, "a first state")
        gripper.move(opening=0.0)
        closed = rig.wait_for(settled(0.0), "the fingers to close")
        assert not closed.blocked
        assert closed.fault is None
        gripper.move(opening=1.0)
        opened = rig.wait_for(settled(1.0), "the fingers to open")
        assert opened.stamp_ns > closed.stamp_ns > 0
        assert opened.fault is None


def test_the_newest_target_wins(rig):
    with rig.gripper as gripper:
        for _ in range(20):
            gripper.move(opening=0.0)
            gripper.move(opening=1.0)
        rig.wait_for(settled(1.0), "the fingers to be open")
        gripper.move(opening=0.0)
        rig.wait_for(settled(0.0), "the fingers to close")


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), float("inf")])
def test_nonsense_is_refused(rig, bad):
    with pytest.raises(ValueError, match=r"opening must be within 0\.\.1"):
        rig.gripper.move(opening=bad)
    with pytest.raises(ValueError, match=r"speed must be within 0\.\.1"):
        rig.gripper.move(opening=0.5, speed=bad)
    with pytest.raises(ValueError, match=r"force must be within 0\.\.1"):
        rig.gripper.move(opening=0.5, force=bad)


def test_stuck_fingers_are_a_fault_and_recover(rig):
    if rig.jam is None:
        assert isinstance(rig.gripper, DigitalGripper)  # has no sensor: its docstring says so
        return
    with rig.gripper as gripper:
        gripper.move(opening=1.0)
        rig.wait_for(settled(1.0), "the fingers to be open")
        rig.jam(True)
        gripper.move(opening=0.0)
        state = rig.wait_for(lambda state: state.fault is not None, "the fault")
        assert isinstance(state.fault, GripperError)
        assert "stuck at opening 1.00, asked for 0.00" in str(state.fault)
        for _ in range(10):  # repeating the target does not hide the fault
            gripper.move(opening=0.0)
            rig.clock.sleep_until(rig.clock.monotonic_ns() + 20 * NS_PER_MS)
        assert gripper.state().fault is not None
        rig.jam(False)
        assert rig.wait_for(settled(0.0), "the freed fingers to close").fault is None


def test_no_gripper_checks_and_ignores():

    with make_gripper(spec=NoGripperSpec(kind="none"), clock=SystemClock()) as gripper:
        gripper.move(opening=0.5)
        assert gripper.state().opening is None
        with pytest.raises(ValueError, match="opening"):
            gripper.move(opening=2.0)


def test_sim_gripper_holds_what_lies_between_its_fingers():
    clock = FakeClock()
    gripper = SimGripper(clock=clock)
    gripper.obstacle_opening = 0.4
    with gripper:
        gripper.move(opening=0.0)
        clock.advance(2 * NS_PER_S)
        state = gripper.state()
    assert state.opening == 0.4
    assert state.blocked
    assert state.fault is None
