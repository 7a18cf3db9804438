"""From a description to a teleoperation device."""

import numpy as np

from mola_core.contracts.teleop import Twist
from mola_drivers.teleop.freedrive import FreedriveTeleop
from mola_drivers.teleop.gamepad import GamepadTeleop
from mola_drivers.teleop.gello import GelloTeleop
from mola_drivers.teleop.keyboard import KeyboardTeleop
from mola_drivers.teleop.protocol import TeleopDevice
from mola_drivers.teleop.scripted import ScriptedStep, ScriptedTeleop
from mola_drivers.teleop.spacemouse import SpaceMouseTeleop
from mola_drivers.teleop.specs import (
    FreedriveSpec,
    GamepadSpec,
    GelloSpec,
    KeyboardSpec,
    ScriptedTeleopSpec,
    SpaceMouseSpec,
    TeleopSpec,
)


def make_teleop(*, spec: TeleopSpec) -> TeleopDevice:
    """A closed device for ``spec``; touches nothing."""
    match spec:
        case SpaceMouseSpec():
            return SpaceMouseTeleop(spec)
        case GamepadSpec():
            return GamepadTeleop(spec)
        case KeyboardSpec():
            return KeyboardTeleop(spec)
        case GelloSpec():
            return GelloTeleop(spec, switch=make_teleop(spec=spec.switch))
        case FreedriveSpec():
            return FreedriveTeleop(make_teleop(spec=spec.switch))
        case ScriptedTeleopSpec():
            return _scripted(spec)


def _scripted(spec: ScriptedTeleopSpec) -> ScriptedTeleop:
    steps = [
        ScriptedStep(
            duration_s=step.duration_s,
            motion=Twist(velocity=np.array(step.velocity), frame=step.frame),
            gripper_opening=step.gripper_opening,
            enabled=step.enabled,
        )
        for step in spec.steps
    ]
    return ScriptedTeleop(steps, start_ns=spec.start_ns)
