"""What every teleoperation device must do, each over its real library with a device simulated beneath it."""

import os
import pty
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ConfigError, TeleopError
from mola_core.contracts.teleop import HandGuidance, LeaderJoints, Press, TeleopCommand, Twist, TwistFrame
from mola_drivers.teleop.factory import make_teleop
from mola_drivers.teleop.freedrive import FreedriveTeleop
from mola_drivers.teleop.gamepad import GamepadTeleop
from mola_drivers.teleop.gello import GelloTeleop
from mola_drivers.teleop.keyboard import KeyboardTeleop
from mola_drivers.teleop.protocol import TeleopDevice
from mola_drivers.teleop.scripted import ScriptedStep, ScriptedTeleop
from mola_drivers.teleop.spacemouse import SpaceMouseTeleop
from mola_drivers.teleop.specs import (
    GamepadSpec,
    GelloSpec,
    KeyboardSpec,
    ScriptedTeleopSpec,
    SpaceMouseSpec,
    device_spec,
)

sys.path.append(str(Path(__file__).parent))  # import mode importlib does not
from dynamixel_bus import DynamixelBus
from sdl_pad import VirtualPad

FAKE_HID = "fake_hid" in os.environ.get("LD_PRELOAD", "")
"""This process's ioctl takes a pseudo-terminal for a HID device; see ``test_the_spacemouse_conforms``."""
_HERE = Path(__file__)


class Hands:
    """A device and the person, or the physics, at its other end."""

    def __init__(self, device: TeleopDevice) -> None:
        self.device = device

    def hold(self) -> None:
        """Press the deadman."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Take the hand off it."""
        raise NotImplementedError

    def push(self) -> None:
        """Ask for motion."""

    def close_gripper(self) -> None:
        """Press the gripper's button."""
        raise NotImplementedError

    def unplug(self) -> None:
        """Pull the cable."""
        raise NotImplementedError

    def read(self) -> TeleopCommand:
        return self.device.read(time.time_ns())

    def read_until(self, condition: Callable[[TeleopCommand], Any]) -> TeleopCommand:
        """The device is read until what was done to it has arrived."""
        for _ in range(400):
            command = self.read()
            if condition(command):
                return command
            time.sleep(0.005)
        pytest.fail(f"it never came; last: {command}")

    def clean_up(self) -> None:
        """Whatever the simulation holds."""


class KeyboardHands(Hands):
    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        super().__init__(KeyboardTeleop(KeyboardSpec(), open_terminal=lambda: self._slave))

    def _type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def hold(self) -> None:
        self._type("h")

    def let_go(self) -> None:
        pass  # a terminal says nothing; time does

    def push(self) -> None:
        self._type("d")

    def close_gripper(self) -> None:
        self._type(" ")

    def unplug(self) -> None:
        os.close(self._master)
        self._master = -1

    def clean_up(self) -> None:
        for fd in (self._master, self._slave):
            if fd >= 0:
                os.close(fd)


class GamepadHands(Hands):
    def __init__(self) -> None:
        import pygame  # noqa: PLC0415
        from pygame._sdl2 import controller  # noqa: PLC0415

        os.environ["SDL_VIDEODRIVER"] = "dummy"
        pygame.display.init()
        controller.init()
        self._pad = VirtualPad()
        super().__init__(GamepadTeleop(GamepadSpec()))

    def hold(self) -> None:
        self._pad.press(10)

    def let_go(self) -> None:
        self._pad.press(10, held=False)

    def push(self) -> None:
        self._pad.move(0, 1.0)

    def close_gripper(self) -> None:
        self._pad.press(0)

    def unplug(self) -> None:
        self._pad.unplug()

    def clean_up(self) -> None:
        self._pad.unplug()


class SpaceMouseHands(Hands):
    def __init__(self) -> None:
        if not FAKE_HID:
            pytest.skip("runs in a process of its own, with a HID device under the real hidapi")
        self._mouse, self._port = pty.openpty()
        tty.setraw(self._mouse)
        tty.setraw(self._port)
        super().__init__(SpaceMouseTeleop(SpaceMouseSpec(path=os.ttyname(self._port))))

    def _report(self, *data: int, number: int) -> None:
        os.write(self._mouse, bytes([number, *data]))
        time.sleep(0.01)

    def hold(self) -> None:
        self._report(1, 0, number=3)

    def let_go(self) -> None:
        self._report(0, 0, number=3)

    def push(self) -> None:
        self._report(*struct.pack("<6h", 350, 0, 0, 0, 0, 0), number=1)

    def close_gripper(self) -> None:
        self._report(2, 0, number=3)

    def unplug(self) -> None:
        self.clean_up()

    def clean_up(self) -> None:
        for fd in (self._mouse, self._port):
            if fd >= 0:
                os.close(fd)
        self._mouse = self._port = -1


class GelloHands(Hands):
    IDS = (1, 2, 3, 4, 5, 6, 7)

    def __init__(self) -> None:
        self.bus = DynamixelBus(self.IDS)
        self.bus.__enter__()
        self._keys = KeyboardHands()
        super().__init__(GelloTeleop(GelloSpec(port=self.bus.port), switch=self._keys.device))

    def hold(self) -> None:
        self._keys.hold()

    def let_go(self) -> None:
        self._keys.let_go()

    def push(self) -> None:
        self.bus.positions[1] = 0.5

    def close_gripper(self) -> None:
        self.bus.positions[7] = -0.7

    def unplug(self) -> None:
        self.bus.unplug()

    def clean_up(self) -> None:
        self.bus.unplug()
        self._keys.clean_up()


class FreedriveHands(KeyboardHands):
    def __init__(self) -> None:
        super().__init__()
        self.device = FreedriveTeleop(self.device)


HANDS = {
    "keyboard": KeyboardHands,
    "gamepad": GamepadHands,
    "spacemouse": SpaceMouseHands,
    "gello": GelloHands,
    "freedrive": FreedriveHands,
}


@pytest.fixture(params=HANDS)
def hands(request: pytest.FixtureRequest) -> Iterator[Hands]:
    made = HANDS[request.param]()
    yield made
    made.clean_up()


# --- every device -------------------------------------------------------------------------------------------------------


def test_a_closed_device_says_so(hands: Hands):
    with pytest.raises(TeleopError, match="not open"):
        hands.read()


def test_a_command_carries_the_time_of_reading_and_six_finite_numbers(hands: Hands):
    with hands.device:
        for _ in range(3):
            now_ns = time.time_ns()
            command = hands.device.read(now_ns)
            assert now_ns - 150 * NS_PER_MS < command.stamp_ns <= now_ns
            assert command.alive
            if not isinstance(command.motion, HandGuidance):
                values = (
                    command.motion.velocity if isinstance(command.motion, Twist) else command.motion.joint_positions
                )
                assert values.shape == (6,)
                assert np.isfinite(values).all()


def test_the_deadman_is_held_and_let_go(hands: Hands):
    with hands.device:
        assert not hands.read().enabled
        hands.hold()
        hands.read_until(lambda command: command.enabled)
        hands.let_go()
        hands.read_until(lambda command: not command.enabled)


def test_a_push_becomes_motion_within_the_devices_speed(hands: Hands):
    with hands.device:
        hands.push()
        if isinstance(hands, FreedriveHands):
            assert isinstance(hands.read().motion, HandGuidance)
        elif isinstance(hands, GelloHands):
            command = hands.read_until(lambda command: command.motion.joint_positions.any())
            np.testing.assert_allclose(command.motion.joint_positions, [0.5, 0, 0, 0, 0, 0], atol=1e-3)
        else:
            command = hands.read_until(lambda command: command.motion.velocity.any())
            np.testing.assert_allclose(command.motion.velocity, [0.25, 0, 0, 0, 0, 0], atol=1e-6)
            assert command.motion.frame is TwistFrame.CHOSEN


def test_the_gripper_is_left_alone_until_it_is_asked_for(hands: Hands):
    with hands.device:
        assert hands.read().gripper_opening in (None, 1.0)
        hands.close_gripper()
        hands.read_until(lambda command: command.gripper_opening is not None and command.gripper_opening < 0.01)


def test_unplugged_it_reads_as_neither_alive_nor_enabled(hands: Hands):
    with hands.device:
        hands.hold()
        hands.read_until(lambda command: command.enabled)
        hands.unplug()
        command = hands.read_until(lambda command: not command.alive)
        assert not command.enabled


def test_it_may_be_closed_and_opened_again(hands: Hands):
    for _ in range(2):
        with hands.device:
            assert hands.read().alive
    with pytest.raises(TeleopError, match="not open"):
        hands.read()


# --- the SpaceMouse's process -------------------------------------------------------------------------------------------


def test_the_spacemouse_conforms(tmp_path: Path):
    """The suite above for the SpaceMouse: real hidapi, the kernel's HID calls answered on a pseudo-terminal."""
    library = tmp_path / "fake_hid.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, _HERE.with_name("fake_hid.c")], check=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(_HERE),
        "-p",
        "no:cacheprovider",
        "-k",
        "spacemouse and not conforms",
    ]
    result = subprocess.run(
        command,
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout, result.stdout
    assert "skipped" not in result.stdout, result.stdout


# --- absent devices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: SpaceMouseTeleop(SpaceMouseSpec()), r"no SpaceMouse is plugged in; known are SpaceNavigator, .* Plug one in"),
        (lambda path: SpaceMouseTeleop(SpaceMouseSpec(path=str(path / "hidraw9"))), r"hidraw9 does not open .*udev rule"),
        (lambda _: GamepadTeleop(GamepadSpec(index=7)), r"no gamepad number 7: SDL sees \d+ game controllers; plug one in"),
        (lambda _: KeyboardTeleop(KeyboardSpec(), open_terminal=lambda: os.open(os.devnull, os.O_RDONLY)), "needs a terminal"),
        (
            lambda path: GelloTeleop(GelloSpec(port=str(path / "ttyUSB0")), switch=ScriptedTeleop([])),
            r"port .*ttyUSB0 does not open .* group dialout",
        ),
    ],
)  # fmt: skip
def test_an_absent_device_is_named_with_its_cure(make: Callable[[Path], TeleopDevice], said: str, tmp_path: Path):
    with pytest.raises(TeleopError, match=said):
        make(tmp_path).__enter__()


def test_a_port_that_one_may_not_open_is_named(tmp_path: Path):
    port = tmp_path / "ttyUSB0"
    port.mkdir()  # as root everything else opens
    with pytest.raises(TeleopError, match="does not open"):
        GelloTeleop(GelloSpec(port=str(port)), switch=ScriptedTeleop([])).__enter__()


def test_servos_that_do_not_answer_are_named():
    with DynamixelBus((1, 2, 3)) as bus:
        device = GelloTeleop(GelloSpec(port=bus.port), switch=ScriptedTeleop([]))
        with pytest.raises(TeleopError, match=r"servos 1, 2, 3, 4, 5, 6, 7 do not all answer .* check its power"):
            device.__enter__()


# --- single devices -----------------------------------------------------------------------------------------------------


def test_a_leader_speaks_in_the_followers_joints():
    with DynamixelBus((1, 2, 3, 4, 5, 6)) as bus:
        spec = GelloSpec(
            port=bus.port, joint_offsets=(1.0, 0, 0, 0, 0, 0), joint_signs=(1, 1, -1, 1, 1, 1), trigger_id=None
        )
        for servo, position in zip(range(1, 7), (1.5, -3.5, 0.2, 0, 0, 0), strict=True):
            bus.positions[servo] = position
        with GelloTeleop(spec, switch=make_teleop(spec=_still())) as device:
            motion = device.read(time.time_ns()).motion
            assert isinstance(motion, LeaderJoints)
            np.testing.assert_allclose(motion.joint_positions, [0.5, -3.5, -0.2, 0, 0, 0], atol=1e-3)


def test_keys_count_as_held_for_a_while_and_buttons_once():
    hands = KeyboardHands()
    with hands.device as device:
        hands._type("w+vcy")
        first = hands.read_until(lambda command: command.enabled)
        assert first.pressed == (Press.FASTER, Press.NEXT_FRAME, Press.RECORD, Press.SUCCESS)
        stamp_ns = first.stamp_ns
        np.testing.assert_allclose(first.motion.velocity[:3], [0, 0.25, 0])
        assert device.read(stamp_ns + 100 * NS_PER_MS).enabled
        released = device.read(stamp_ns + 130 * NS_PER_MS)
        assert not released.enabled
        assert not released.motion.velocity.any()
        assert released.pressed == ()
    hands.clean_up()


def _still() -> ScriptedTeleopSpec:
    return ScriptedTeleopSpec.model_validate({"kind": "scripted", "steps": [{"duration_s": 1.0, "velocity": [0] * 6}]})


# --- the scripted device ------------------------------------------------------------------------------------------------

FORWARD = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
TURN = (0.0, 0.0, 0.0, 0.0, 0.0, 0.5)
START_NS = 1_750_000_000 * NS_PER_S
SCRIPT = {
    "kind": "scripted",
    "steps": [
        {"duration_s": 1.0, "velocity": FORWARD},
        {"duration_s": 0.5, "velocity": TURN, "frame": "tcp", "gripper_opening": 0.0, "enabled": False},
    ],
}


def scripted(**changes: object) -> TeleopDevice:
    return make_teleop(spec=ScriptedTeleopSpec.model_validate({**SCRIPT, **changes}))


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


def test_a_script_may_begin_at_a_stamp():
    with scripted(start_ns=START_NS) as device:
        assert not device.read(START_NS - 1).enabled
        assert device.read(START_NS).enabled
        assert not device.read(START_NS + NS_PER_S).enabled


def test_opened_again_it_starts_over():
    device = scripted()
    with device:
        device.read(START_NS)
        assert not device.read(START_NS + 10 * NS_PER_S).enabled
    with device:
        assert device.read(START_NS + 20 * NS_PER_S).enabled
    with pytest.raises(TeleopError, match="not open"):
        device.read(START_NS)


def test_a_step_without_duration_is_refused():
    motion = Twist(velocity=np.zeros(6), frame=TwistFrame.BASE)
    with pytest.raises(ValueError, match=r"step 0 .* lasts 0"):
        ScriptedTeleop([ScriptedStep(duration_s=0.0, motion=motion)])


# --- descriptions -------------------------------------------------------------------------------------------------------


def test_a_device_is_described_by_a_word_or_a_file(tmp_path: Path):
    assert isinstance(device_spec("keyboard"), KeyboardSpec)
    path = tmp_path / "leader.yaml"
    path.write_text("kind: gello\nport: /dev/ttyUSB0\nswitch: {kind: gamepad}\n")
    spec = device_spec(str(path))
    assert isinstance(spec, GelloSpec)
    assert isinstance(make_teleop(spec=spec), GelloTeleop)
    script = tmp_path / "script.json"
    script.write_text(ScriptedTeleopSpec.model_validate(SCRIPT).model_dump_json())
    assert isinstance(make_teleop(spec=device_spec(str(script))), ScriptedTeleop)
    assert isinstance(make_teleop(spec=device_spec("freedrive")), FreedriveTeleop)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("joystick", None, r"device 'joystick' is not known; choose spacemouse, gamepad, keyboard, freedrive, or give"),
        ("absent.yaml", None, r"absent.yaml cannot be read \(No such file"),
        ("bad.yaml", "kind: [", "neither YAML nor JSON"),
        ("bad.yaml", "kind: theremin\n", r"theremin"),
        ("bad.yaml", "kind: spacemouse\nlinear_speed: 7\n", r"linear_speed: .*less than or equal to 1 \(got 7\)"),
        ("bad.yaml", "kind: gello\n", r"port: Field required"),
        ("bad.json", '{"kind": "scripted", "steps": []}', r"steps: .*at least 1 item"),
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(name: str, content: str | None, said: str, tmp_path: Path):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        device_spec(str(path) if path.suffix else name)
