"""What goes into a servo tick and what comes out of it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from mola_core.contracts.geometry import Pose
from mola_core.contracts.types import Joints, RobotMode, SafetyMode


class ServoState(IntEnum):
    """Where the servo core stands; see ARCHITECTURE.md."""

    STOPPED = 0
    """Latched: holds, refuses chunks, waits for the operator's resume."""
    HOLDING = 1
    """Engaged: holds, waits for a chunk that starts within ``engage_delta``."""
    EXECUTING = 2
    BRAKING = 3
    """On the way to STOPPED along a verified braking motion."""
    GUIDED = 4
    """A person moves the arm by hand: its drives give way, and what is commanded is what is measured."""
    SETTLING = 5
    """The hand has let go: the drives hold again, and the arm comes to rest before it is engaged."""


class Rung(IntEnum):
    """Rung of the degradation ladder that the present motion stands on (the policy's own rungs come before)."""

    PLAN = 0
    """Rows that were meant to be executed."""
    RESERVE = 1
    """Rows beyond ``execute_steps``: the next chunk is late."""
    HOLD = 2
    """Nothing left to execute."""


class ChunkOutcome(IntEnum):
    """What became of a chunk offered to the servo core."""

    ACCEPTED = 0
    SUPERSEDED = 1
    """A newer chunk arrived within the same tick."""
    OUT_OF_ORDER = 2
    STALE = 3
    LATE = 4
    """Every row was meant for the past."""
    NOT_ENGAGED = 5
    """The servo is stopped or braking."""
    TOO_FAR = 6
    """Its first target is further than ``engage_delta`` from the commanded position."""
    MALFORMED = 7
    """Passed no validation; it must have been written past the door."""


class Measured(Protocol):
    """What a tick needs to know of the arm; ``RobotState`` and the drivers' ``ArmReading`` both fit."""

    @property
    def joint_positions(self) -> Joints:
        """Rad."""
        ...

    @property
    def robot_mode(self) -> RobotMode:
        """UR's robot mode."""
        ...

    @property
    def safety_mode(self) -> SafetyMode:
        """UR's safety mode."""
        ...


class Reading(Measured, Protocol):
    """What the loop reports of the arm; the drivers' ``ArmReading`` fits."""

    @property
    def controller_time_s(self) -> float:
        """The controller's own clock."""
        ...

    @property
    def stamp_ns(self) -> int:
        """When this reading was first seen, epoch."""
        ...

    @property
    def joint_velocities(self) -> Joints:
        """Measured, rad/s."""
        ...

    @property
    def base_from_tcp(self) -> Pose:
        """Measured."""
        ...

    @property
    def speed_scaling(self) -> float:
        """0..1."""
        ...

    @property
    def program_running(self) -> bool:
        """The servo program runs on the controller."""
        ...


@dataclass(frozen=True, slots=True)
class ServoCommand:
    """What one tick asks of arm and gripper."""

    joint_target: Joints
    """rad; inside every limit of the site."""
    gripper_target: float | None
    """Opening; None until a chunk has asked for one."""
    state: ServoState
    reason: str
    """Why the servo is not executing, or what holds it back; empty while all is well."""
