"""What the teleoperation node needs of a device held in somebody's hand."""

from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from jaxtyping import Float

from mola_core.contracts.types import Joints


class TwistFrame(Enum):
    """The axes in which a twist is meant; its point is always the TCP."""

    BASE = "base"
    TCP = "tcp"


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
class TeleopCommand:
    """What the person wants at this instant."""

    stamp_ns: int
    """When the device was read."""
    motion: Twist | LeaderJoints | None
    """None: the device has said nothing yet."""
    gripper_opening: float | None
    """0 closed, 1 open; None: leave it."""
    enabled: bool
    """The deadman switch is held. Released, nothing may move."""
    alive: bool
    """The device itself still answers."""


class TeleopDevice(Protocol):
    """A source of commands. Belongs to one thread."""

    def __enter__(self) -> Self:
        """Open the device.

        Raises:
            TeleopError: absent or not permitted.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def read(self, now_ns: int) -> TeleopCommand:
        """The newest command at ``now_ns`` (epoch); never blocks. A lost device reads as not alive and not enabled.

        Raises:
            TeleopError: the device has not been opened.
        """
        ...
