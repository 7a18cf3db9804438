"""The commanded state of the joints, and the limits that bind it, as plain floats for the 500 Hz tick."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mola_core.contracts.site import ArmSpec
from mola_core.contracts.types import NUM_JOINTS

MARGIN = 0.999
"""The limiter and the brake plan to this fraction of the site's limits, so that rounding never fails the filter."""


@dataclass(frozen=True, slots=True)
class JointMotion:
    """Position (rad), velocity (rad/s) and acceleration (rad/s^2) of every joint at one instant."""

    positions: list[float]
    velocities: list[float]
    accelerations: list[float]

    @classmethod
    def at_rest(cls, joint_positions: Sequence[float]) -> Self:
        """Standing still at ``joint_positions``."""
        return cls([float(value) for value in joint_positions], [0.0] * NUM_JOINTS, [0.0] * NUM_JOINTS)

    @property
    def is_at_rest(self) -> bool:
        """Neither velocity nor acceleration is left, exactly."""
        return not any(self.velocities) and not any(self.accelerations)


@dataclass(frozen=True, slots=True)
class MotionLimits:
    """What every joint may do; rad, rad/s, rad/s^2, rad/s^3."""

    position_min: tuple[float, ...]
    position_max: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]

    @classmethod
    def of(cls, arm: ArmSpec, *, fraction: float = 1.0) -> Self:
        """The site's limits, those of motion scaled by ``fraction``."""
        return cls(
            arm.position_min,
            arm.position_max,
            tuple(fraction * value for value in arm.velocity_max),
            tuple(fraction * value for value in arm.acceleration_max),
            tuple(fraction * value for value in arm.jerk_max),
        )
