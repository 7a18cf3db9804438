"""How fast the arm may be moved by a person who expects it to rest soon after letting go.

The time from letting go to rest is that of saying so (device, node, door, servo tick), of the braking motion within the
site's acceleration and jerk, and of the arm, which follows its command late and settles for a while. Each joint's speed is
bounded by what can be stopped in the time wished for; a direction that asks a joint for more is slowed down as a whole.

The arm is taken to follow as the URScript manual describes ``servoj``: a pull towards the target, proportional by ``gain``, with the
position projected ``lookahead_s`` ahead. Not compared with a real arm: `mola bench teleop` says what comes of it in the twin.
"""

from math import exp, sqrt

import numpy as np
from jaxtyping import Float

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import ArmSpec, ServoSpec
from mola_core.contracts.types import Joints
from mola_core.control.brake import plan_brake
from mola_core.control.motion import JointMotion, MotionLimits

SAYING_S = 0.022
"""From the switch to the tick that begins to brake: a reading every 10 ms, then two processes on a machine that is not idle."""
REST_RAD_S = 0.01
"""A joint slower than this rests."""
_DRIVE_S = 0.004
"""Time constant of the drives below ``servoj``."""
_STEP_S, _LONGEST_S = 0.002, 3.0
_SLOWEST_RAD_S, _GROWTH = 0.03, 1.04


def stoppable_speeds(arm: ArmSpec, *, within_s: float) -> Joints:
    """Speed of each joint, rad/s, from which the arm rests ``within_s`` after letting go.

    Raises:
        ConfigError: even a slow arm does not come to rest in that time.
    """
    limits = set(zip(arm.velocity_max, arm.acceleration_max, arm.jerk_max, strict=True))
    found = {each: _fastest(*each, servo=arm.servo, within_s=within_s - SAYING_S) for each in limits}
    speeds = [found[each] for each in zip(arm.velocity_max, arm.acceleration_max, arm.jerk_max, strict=True)]
    if min(speeds) < _SLOWEST_RAD_S:
        raise ConfigError(
            f"the arm cannot rest within {1e3 * within_s:.0f} ms of letting go: its servo alone (lookahead_s "
            f"{arm.servo.lookahead_s:g}, gain {arm.servo.gain:g}) takes longer; allow more time or make the servo stiffer"
        )
    return np.array(speeds)


def share_of(joint_velocities: Joints, *, allowed: Float[np.ndarray, "6"]) -> float:
    """Largest factor, at most 1, by which ``joint_velocities`` stay within ``allowed``."""
    excess = float(np.max(np.abs(joint_velocities) / allowed))
    return 1.0 if excess <= 1.0 else 1.0 / excess


def rest_time(speed: float, *, acceleration: float, jerk: float, servo: ServoSpec) -> float:
    """From the beginning of the brake at ``speed`` (rad/s) until the joint itself rests, s."""
    endless = (float("inf"),)
    limits = MotionLimits(endless, endless, endless, (acceleration,), (jerk,))
    brake = plan_brake(JointMotion([0.0], [speed], [0.0]), limits)
    # The joint trails a ramp by the look-ahead and the drives' delay.
    velocity = driven = speed
    position, rest_s, time_s = -speed * servo.lookahead_s, 0.0, 0.0
    error = -position
    # An arm that overshoots passes zero speed on its way: it rests once speed and distance are both small.
    while (
        time_s < brake.duration_s or max(abs(velocity), abs(driven), abs(error) * sqrt(servo.gain)) > 0.5 * REST_RAD_S
    ):
        time_s += _STEP_S
        if time_s > _LONGEST_S:
            return _LONGEST_S
        pull = servo.gain * _STEP_S
        error = brake.positions_at(time_s)[0] - position
        velocity = (velocity + pull * error) / (1.0 + pull * servo.lookahead_s)
        position += velocity * _STEP_S
        driven += (velocity - driven) * (1.0 - exp(-_STEP_S / _DRIVE_S))
        if abs(driven) >= REST_RAD_S:
            rest_s = time_s
    return rest_s


def _fastest(velocity: float, acceleration: float, jerk: float, *, servo: ServoSpec, within_s: float) -> float:
    """The fastest speed such that this and every slower one is stopped in time; 0 if none is."""
    found, speed = 0.0, _SLOWEST_RAD_S
    while speed < velocity * _GROWTH:
        if rest_time(min(speed, velocity), acceleration=acceleration, jerk=jerk, servo=servo) > within_s:
            break
        found = min(speed, velocity)
        speed *= _GROWTH
    return found
