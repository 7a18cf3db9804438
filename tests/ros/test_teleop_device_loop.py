"""The thread that owns the device: lost devices, failing ones, and the release at the end. No ROS is involved."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.site import load_site
from mola_core.contracts.teleop import Press, TeleopCommand, Twist, TwistFrame
from mola_core.contracts.types import ActionChunk, CommandedState
from mola_core.control.kinematics import forward_kinematics
from mola_core.control.teleop.session import RigView, TeleopSession, TeleopView
from mola_core.control.teleop.settings import TeleopSettings
from mola_nodes.teleop import device_loop
from mola_nodes.teleop.device_loop import DeviceLoop

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
CLOCK = SystemClock()
PUSH = Twist(np.array([0.0, 0.05, 0.0, 0.0, 0.0, 0.0]), TwistFrame.BASE)


class FakeDevice:
    """Opened, lost and found as the test says."""

    name = "fake"

    def __init__(self) -> None:
        self.held, self.alive, self.may_open = False, True, True
        self.opened = 0
        self.owner = 0
        self.pressed: tuple[Press, ...] = ()

    def __enter__(self) -> Self:
        if not self.may_open:
            raise TeleopError("the fake is absent; plug it in")
        self.opened += 1
        self.alive = True
        self.owner = threading.get_ident()
        return self

    def __exit__(self, *_: object) -> None:
        assert threading.get_ident() == self.owner

    def read(self, now_ns: int) -> TeleopCommand:
        assert threading.get_ident() == self.owner
        held = self.held and self.alive
        pressed, self.pressed = self.pressed, ()
        return TeleopCommand(
            stamp_ns=now_ns, motion=PUSH, gripper_opening=None, enabled=held, alive=self.alive, pressed=pressed
        )


def rig() -> RigView:
    home = np.array(SITE.arm.home)
    pose = pose_from_transform(forward_kinematics(home, SITE.arm.tcp_offset))
    state = CommandedState(CLOCK.now_ns(), home, pose, 1.0, "", 0, "")
    return RigView(commanded=state, servo_problem="", measured_opening=1.0)


class Desk:
    def __init__(self) -> None:
        self.device = FakeDevice()
        self.chunks: list[ActionChunk] = []
        self.views: list[TeleopView] = []
        self.recorder_keys: list[Press] = []
        self._news = threading.Condition()
        self.loop = DeviceLoop(
            self.device,
            session=TeleopSession(SITE, device="fake", settings=TeleopSettings()),
            rig=rig,
            send=self.chunks.append,
            guide=lambda _wanted: None,
            say=self._hear,
            record=self.recorder_keys.append,
            rate_hz=200.0,
            clock=CLOCK,
        )

    def _hear(self, view: TeleopView) -> None:
        with self._news:
            self.views.append(view)
            self._news.notify_all()

    def wait(self, condition: Any) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self.views and condition(self.views[-1]), timeout=20.0), self.views[-1:]


@contextmanager
def engaged() -> Iterator[Desk]:
    desk = Desk()
    with desk.loop:
        desk.wait(lambda view: not view.enabled)
        desk.device.held = True
        desk.wait(lambda view: view.engaged)
        yield desk


def test_a_device_that_does_not_open_is_said_on_entering():
    desk = Desk()
    desk.device.may_open = False
    with pytest.raises(TeleopError, match="plug it in"), desk.loop:
        pass


def test_unplugged_in_motion_the_arm_is_released_and_the_device_found_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_loop, "_REOPEN_NS", 50_000_000)
    with engaged() as desk:
        desk.device.may_open, desk.device.alive = False, False
        desk.wait(lambda view: not view.engaged)
        assert desk.chunks[-1].is_release
        assert "is it plugged in?" in desk.views[-1].reason
        desk.device.may_open = True
        desk.wait(lambda view: view.alive)
        assert desk.device.opened == 2
        assert not desk.views[-1].engaged  # the switch must be pressed anew


def test_the_end_of_the_node_is_a_release():
    with engaged() as desk:
        pass
    assert desk.chunks[-1].is_release
    assert all(not chunk.is_release for chunk in desk.chunks[:-1])
    numbers = [chunk.sequence for chunk in desk.chunks]
    assert numbers == sorted(set(numbers))


def test_a_press_by_service_is_a_press():
    with engaged() as desk:
        desk.loop.press(Press.SLOWER)
        desk.wait(lambda view: view.speed_scale == pytest.approx(0.8))
        assert desk.views[-1].engaged


def test_a_bug_in_the_device_is_noticed(caplog: pytest.LogCaptureFixture):
    with engaged() as desk:
        desk.device.read = lambda _now_ns: 1 / 0
        desk.loop._thread.join(timeout=20.0)
        assert desk.loop.has_failed
    assert "the loop of the fake ended" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_buttons_of_the_recorder_are_passed_on_and_change_nothing_here():
    with engaged() as desk:
        speed = desk.views[-1].speed_scale
        desk.device.pressed = (Press.RECORD, Press.SLOWER, Press.SUCCESS)
        desk.wait(lambda view: view.speed_scale < speed)
        assert desk.recorder_keys == [Press.RECORD, Press.SUCCESS]
        assert [press.value for press in desk.recorder_keys] == ["toggle", "success"]
