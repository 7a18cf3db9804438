"""What a teleoperation device says, and how its chunks are told from those of a policy."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float

from mola_core.contracts.types import Joints

_SOURCE_PREFIX = "teleop/"


def teleop_source(device: str) -> str:
    """``ActionChunk.source`` of a device of this kind."""
    return f"{_SOURCE_PREFIX}{device}"


HAND_SOURCE = teleop_source("freedrive")
"""Of an arm that a person guides by hand; no chunk moves it then."""


def is_teleop(source: str) -> bool:
    """Whether a person made it, so that it comes before any policy and marks an intervention."""
    return source.startswith(_SOURCE_PREFIX)


class TwistFrame(Enum):
    """The axes in which a twist is meant; its point is always the TCP."""

    BASE = "base"
    TCP = "tcp"
    VIEW = "view"
    """As seen in the image of the chosen camera: x to the right, y away from it, z up."""
    CHOSEN = "chosen"
    """Whichever of the others the person has chosen; what sticks and keys mean."""


@dataclass(frozen=True, slots=True)
class Twist:
    """Velocity of the TCP, from a mouse or stick."""

    velocity: Float[np.ndarray, "6"]
    """m/s, then rad/s."""
    frame: TwistFrame


@dataclass(frozen=True, slots=True)
class LeaderJoints:
    """Joint positions of a leader arm, to be followed."""

    joint_positions: Joints
    """rad, in the follower's convention."""


@dataclass(frozen=True, slots=True)
class HandGuidance:
    """The arm itself is taken by the hand: its drives give way while the deadman is held."""


class Press(Enum):
    """What a device's own buttons ask for beside motion."""

    FASTER = "faster"
    SLOWER = "slower"
    NEXT_FRAME = "next_frame"
    RECORD = "toggle"
    """Start an episode, or stop the one being recorded."""
    SUCCESS = "success"
    FAILURE = "failure"
    DROP = "drop"


RECORDER_PRESSES = frozenset({Press.RECORD, Press.SUCCESS, Press.FAILURE, Press.DROP})
"""Meant for the episode recorder; their values are the words that it takes as keys."""


@dataclass(frozen=True, slots=True)
class TeleopCommand:
    """What the person wants at this instant."""

    stamp_ns: int
    """When the device was read."""
    motion: Twist | LeaderJoints | HandGuidance | None
    """None: the device has said nothing yet."""
    gripper_opening: float | None
    """0 closed, 1 open; None: leave it."""
    enabled: bool
    """The deadman switch is held. Released, nothing may move."""
    alive: bool
    """The device itself still answers."""
    pressed: tuple[Press, ...] = ()
    """Buttons pressed since the last reading, in order."""
