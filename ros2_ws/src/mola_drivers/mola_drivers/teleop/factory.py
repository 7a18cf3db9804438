"""From configuration to a teleoperation device."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mola_core.contracts.teleop import Twist, TwistFrame
from mola_drivers.teleop.protocol import TeleopDevice
from mola_drivers.teleop.scripted import ScriptedStep, ScriptedTeleop

Vector6 = tuple[float, float, float, float, float, float]


class ScriptedTwistSpec(BaseModel):
    """One twist, held for a while."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    duration_s: float = Field(gt=0, le=600)
    velocity: Vector6
    """m/s, then rad/s."""
    frame: TwistFrame = TwistFrame.BASE
    gripper_opening: float | None = Field(default=None, ge=0, le=1)
    enabled: bool = True


class ScriptedTeleopSpec(BaseModel):
    """A scripted device."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["scripted"]
    steps: tuple[ScriptedTwistSpec, ...]


TeleopSpec = ScriptedTeleopSpec


def make_teleop(*, spec: TeleopSpec) -> TeleopDevice:
    """A closed device for ``spec``; touches nothing."""
    return ScriptedTeleop(
        [
            ScriptedStep(
                duration_s=step.duration_s,
                motion=Twist(velocity=np.array(step.velocity), frame=step.frame),
                gripper_opening=step.gripper_opening,
                enabled=step.enabled,
            )
            for step in spec.steps
        ]
    )
