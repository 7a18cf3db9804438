"""How fast the arm may be moved by a person who expects it to rest soon after letting go.

The time from letting go to rest is that of saying so (device, node, door, servo tick), of the braking motion within the
site's acceleration and jerk, and of the arm, which follows its command late and settles for a while. What the limits leave
for braking bounds each joint's speed; a direction that asks a joint for more is slowed down as a whole.
"""

from math import sqrt

import numpy as np
from jaxtyping import Float

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import ArmSpec
from mola_core.contracts.types import Joints

SAYING_S = 0.018
"""From the switch to the tick that begins to brake: a reading every 10 ms, two processes on."""
SETTLING_FACTOR = 1.55
"""An arm that lags its command by ``arm_delay_s`` comes to rest this many times later than its command does."""


def stoppable_speeds(arm: ArmSpec, *, within_s: float) -> Joints:
    """Speed of each joint, rad/s, from which the arm rests ``within_s`` after letting go.

    Raises:
        ConfigError: the arm's own lag leaves no time for braking.
    """
    lag_s = SAYING_S + SETTLING_FACTOR * arm.servo.arm_delay_s
    if not within_s > lag_s + 0.01:
        raise ConfigError(
            f"the arm cannot rest within {1e3 * within_s:.0f} ms: saying so and its own lag take {1e3 * lag_s:.0f} ms; "
            f"allow at least {1e3 * lag_s + 20:.0f}, or make the servo stiffer (servo.lookahead_s, arm_delay_s)"
        )
    speeds = [
        _speed(within_s - lag_s, acceleration=acceleration, jerk=jerk)
        for acceleration, jerk in zip(arm.acceleration_max, arm.jerk_max, strict=True)
    ]
    return np.minimum(speeds, arm.velocity_max)


def share_of(joint_velocities: Joints, *, allowed: Float[np.ndarray, "6"]) -> float:
    """Largest factor, at most 1, by which ``joint_velocities`` stay within ``allowed``."""
    excess = float(np.max(np.abs(joint_velocities) / allowed))
    return 1.0 if excess <= 1.0 else 1.0 / excess


def _speed(brake_s: float, *, acceleration: float, jerk: float) -> float:
    """Speed from which a joint brakes in ``brake_s``; the inverse of :mod:`mola_core.control.brake`."""
    if jerk * brake_s <= 2.0 * acceleration:
        return jerk * brake_s * brake_s / 4.0
    return acceleration * (brake_s - acceleration / jerk)


def brake_time(speed: float, *, acceleration: float, jerk: float) -> float:
    """How long a joint takes to brake from ``speed``, s."""
    if speed * jerk <= acceleration * acceleration:
        return 2.0 * sqrt(speed / jerk)
    return speed / acceleration + acceleration / jerk
