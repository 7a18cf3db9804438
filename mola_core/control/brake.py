"""The fastest stop of every joint within its acceleration and jerk limits.

Closed form, and independent of the limiter's library: the safety filter rests on it. Each joint brakes by itself: jerk
to the peak deceleration, hold it, jerk back to nothing. The motion from any later point of it is its own remainder, so
a verified braking motion stays verified while it is followed.
"""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from mola_core.control.motion import JointMotion, MotionLimits


class JointBrake(NamedTuple):  # cheaper to make than a dataclass, six times a tick
    """One joint's stop: jerk for ``rise_s``, constant acceleration for ``hold_s``, opposite jerk for ``fall_s``."""

    position: float
    velocity: float
    acceleration: float
    jerk: float
    rise_s: float
    hold_s: float
    fall_s: float

    @property
    def duration_s(self) -> float:
        """From start to rest."""
        return self.rise_s + self.hold_s + self.fall_s

    def at(self, time_s: float) -> tuple[float, float, float]:
        """Position, velocity and acceleration ``time_s`` (>= 0) after the start; at rest exactly from the end on."""
        p, v, a = self.position, self.velocity, self.acceleration
        at_end = time_s >= self.rise_s + self.hold_s + self.fall_s
        for duration, jerk in ((self.rise_s, self.jerk), (self.hold_s, 0.0), (self.fall_s, -self.jerk)):
            t = min(time_s, duration)
            p += t * (v + t * (0.5 * a + t * jerk / 6.0))
            v += t * (a + 0.5 * t * jerk)
            a += t * jerk
            time_s -= t
            if time_s <= 0.0 and not at_end:
                break
        return (p, 0.0, 0.0) if at_end else (p, v, a)


@dataclass(frozen=True, slots=True)
class BrakeMotion:
    """The stop of all joints from one commanded state."""

    joints: tuple[JointBrake, ...]
    duration_s: float
    end: list[float]
    """Positions at rest, rad."""
    low: list[float]
    high: list[float]
    """Extremes of the positions on the way, rad; beyond start and end where a joint first reverses."""
    top_speeds: list[float]
    """Largest speed of each joint on the way, rad/s."""

    def at(self, time_s: float) -> JointMotion:
        """The commanded state ``time_s`` after the start."""
        states = [joint.at(time_s) for joint in self.joints]
        return JointMotion([s[0] for s in states], [s[1] for s in states], [s[2] for s in states])

    def positions_at(self, time_s: float) -> list[float]:
        """Joint positions ``time_s`` after the start, rad."""
        return [joint.at(time_s)[0] for joint in self.joints]


def plan_brake(motion: JointMotion, limits: MotionLimits) -> BrakeMotion:
    """The fastest stop from ``motion``; its acceleration is assumed to be within ``limits``."""
    joints: list[JointBrake] = []
    end: list[float] = []
    low: list[float] = []
    high: list[float] = []
    top_speeds: list[float] = []
    duration_s = 0.0
    for p, v, a, a_max, j_max in zip(
        motion.positions, motion.velocities, motion.accelerations, limits.acceleration, limits.jerk, strict=True
    ):
        if v == 0.0 and a == 0.0:
            joints.append(JointBrake(p, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
            end.append(p)
            low.append(p)
            high.append(p)
            top_speeds.append(0.0)
            continue
        brake = _joint_brake(p, v, a, a_max, j_max)
        joints.append(brake)
        stop = brake.at(brake.duration_s)[0]
        turn = _turning_position(brake)
        end.append(stop)
        low.append(min(p, stop, turn))
        high.append(max(p, stop, turn))
        top_speeds.append(_top_speed(brake))
        duration_s = max(duration_s, brake.duration_s)
    return BrakeMotion(tuple(joints), duration_s, end, low, high, top_speeds)


def _joint_brake(p: float, v: float, a: float, a_max: float, j_max: float) -> JointBrake:
    # Whatever velocity is left once the acceleration is gone decides in which direction to push.
    sign = 1.0 if v + 0.5 * a * abs(a) / j_max >= 0.0 else -1.0
    v_forward, a_forward = sign * v, sign * a
    peak = sqrt(max(0.0, j_max * v_forward + 0.5 * a_forward * a_forward))
    hold_s = 0.0
    if peak > a_max:
        peak = a_max
        hold_s = max(0.0, (v_forward + 0.5 * a_forward * a_forward / j_max - peak * peak / j_max) / peak)
    rise_s = max(0.0, (a_forward + peak) / j_max)
    return JointBrake(p, v, a, -sign * j_max, rise_s, hold_s, peak / j_max)


def _turning_position(brake: JointBrake) -> float:
    """Where the joint reverses on its way; its start if it does not."""
    v, a, j = brake.velocity, brake.acceleration, brake.jerk
    if v * j <= 0.0:
        return brake.position
    # It moves along the jerk: the motion is against what is left to stop, and turns while the jerk lasts.
    root = a * a - 2.0 * v * j
    if root < 0.0:
        return brake.position
    t = (-a - sqrt(root)) / j if j > 0.0 else (-a + sqrt(root)) / j
    if not 0.0 < t <= brake.rise_s:
        return brake.position
    return brake.position + t * (v + t * (0.5 * a + t * j / 6.0))


def _top_speed(brake: JointBrake) -> float:
    v, a, j = brake.velocity, brake.acceleration, brake.jerk
    peak = v - 0.5 * a * a / j if a * j < 0.0 else v  # the acceleration passes zero during the first jerk
    fall_start = brake.at(brake.rise_s)[1]
    return max(abs(v), abs(peak), abs(fall_start))
