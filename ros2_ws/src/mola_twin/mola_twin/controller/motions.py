"""What the joints can be told to do: small objects that move a reference, one tick at a time.

Plain floats in lists of six, rad and s: at 500 Hz they cost a third of what numpy does on six numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

NUM_JOINTS = 6
AXES = range(NUM_JOINTS)

MAX_VELOCITY = math.pi
"""rad/s. UR5e data sheet: 180 deg/s on every joint."""
MAX_ACCELERATION = 40.0
"""rad/s^2. The largest that ur_rtde lets through (UR_JOINT_ACCELERATION_MAX)."""
BRAKE_DECELERATION = (13.0, 13.0, 19.0, 25.0, 25.0, 25.0)
"""rad/s^2. Full speed over the stopping times of a category 0 stop in the UR5 user manual for base (0.24 s) and elbow
(0.16 s); the shoulder as the base, since its 0.53 s there is for full payload at full reach; wrists estimated."""


@dataclass(slots=True)
class Reference:
    """Where the joints are asked to be: the controller's ``target_q``, ``target_qd``, ``target_qdd``."""

    positions: list[float]
    velocities: list[float] = field(default_factory=lambda: [0.0] * NUM_JOINTS)
    accelerations: list[float] = field(default_factory=lambda: [0.0] * NUM_JOINTS)

    def move(self, *, joint: int, velocity: float, dt: float) -> None:
        """Advance one joint by one step at ``velocity``."""
        self.accelerations[joint] = (velocity - self.velocities[joint]) / dt
        self.velocities[joint] = velocity
        self.positions[joint] += velocity * dt

    def rest(self) -> None:
        """Forget the velocity: the joints stand."""
        self.velocities[:] = [0.0] * NUM_JOINTS
        self.accelerations[:] = [0.0] * NUM_JOINTS


class Motion(Protocol):
    """One way of moving the reference."""

    done: bool
    """True once there is nothing left to do; the reference then stands."""

    def advance(self, reference: Reference, *, dt: float) -> None:
        """Move ``reference`` by one step of ``dt`` seconds (> 0)."""
        ...


class Hold:
    """Stand."""

    done = True

    def advance(self, reference: Reference, *, dt: float) -> None:  # noqa: ARG002
        reference.rest()


class ServoJoints:
    """``servoj``: a proportional pull on the target, with the present position projected ``lookahead_s`` ahead.

    The URScript manual describes gain as the P of a PID and lookahead_time as the time by which the present position
    is projected with the present velocity: ``acceleration = gain * (target - (position + lookahead * velocity))``.
    That is a second-order system of natural frequency ``sqrt(gain)`` and damping ratio ``sqrt(gain) * lookahead / 2``,
    lagging a ramp by ``lookahead``. Small gain with small lookahead overshoots (300 with 0.05 s: damping ratio 0.43).
    With no new target it goes to the last one and holds.
    """

    done = False

    def __init__(self, *, target: Sequence[float], lookahead_s: float, gain: float) -> None:
        self.retarget(target=target, lookahead_s=lookahead_s, gain=gain)

    def retarget(self, *, target: Sequence[float], lookahead_s: float, gain: float) -> None:
        self.target = list(target)
        self.lookahead_s = min(max(lookahead_s, 0.03), 0.2)
        self.gain = min(max(gain, 100.0), 2000.0)

    def advance(self, reference: Reference, *, dt: float) -> None:
        pull = dt * self.gain
        damping = 1.0 + pull * self.lookahead_s
        step = MAX_ACCELERATION * dt
        positions, velocities, target = reference.positions, reference.velocities, self.target
        for joint in AXES:
            before = velocities[joint]
            # damping implicit, or gain 2000 with lookahead 0.2 s would be close to unstable at 2 ms
            velocity = (before + pull * (target[joint] - positions[joint])) / damping
            if velocity > before + step:
                velocity = before + step
            elif velocity < before - step:
                velocity = before - step
            if velocity > MAX_VELOCITY:
                velocity = MAX_VELOCITY
            elif velocity < -MAX_VELOCITY:
                velocity = -MAX_VELOCITY
            reference.move(joint=joint, velocity=velocity, dt=dt)


class Brake:
    """Mechanical stop: every joint for itself, as fast as its brake can."""

    def __init__(self, deceleration: Sequence[float] = BRAKE_DECELERATION) -> None:
        self.done = False
        self._deceleration = tuple(deceleration)

    def advance(self, reference: Reference, *, dt: float) -> None:
        moving = False
        for joint in AXES:
            velocity = reference.velocities[joint]
            slower = max(abs(velocity) - self._deceleration[joint] * dt, 0.0)
            moving = moving or slower > 0.0
            reference.move(joint=joint, velocity=math.copysign(slower, velocity), dt=dt)
        self.done = not moving


class SpeedJoints:
    """``speedj``: ramp to a joint velocity and keep it, for ever. ``stopj`` is the same with velocity zero, then done.

    The fastest-changing joint uses the whole acceleration, the others share its time, so a stop keeps to the path.
    """

    def __init__(self, *, velocity: Sequence[float], acceleration: float, stop: bool = False) -> None:
        self.velocity = [min(max(value, -MAX_VELOCITY), MAX_VELOCITY) for value in velocity]
        self.acceleration = min(max(abs(acceleration), 1e-3), MAX_ACCELERATION)
        self.done = False
        self._stop = stop

    def advance(self, reference: Reference, *, dt: float) -> None:
        change = [self.velocity[joint] - reference.velocities[joint] for joint in AXES]
        largest = max(abs(value) for value in change)
        share = min(1.0, self.acceleration * dt / largest) if largest > 0.0 else 0.0
        for joint in AXES:
            reference.move(joint=joint, velocity=reference.velocities[joint] + share * change[joint], dt=dt)
        self.done = self._stop and share in {0.0, 1.0}


def stop_joints(*, acceleration: float) -> SpeedJoints:
    """``stopj``: slow all joints down along their path."""
    return SpeedJoints(velocity=[0.0] * NUM_JOINTS, acceleration=acceleration, stop=True)


class Ramp:
    """Travelled distance of a trapezoidal velocity profile from rest to rest."""

    def __init__(self, *, distance: float, speed: float, acceleration: float) -> None:
        self.distance = distance
        self.speed = max(speed, 1e-6)
        self.acceleration = max(acceleration, 1e-6)
        self.travelled = 0.0
        self.rate = 0.0

    @property
    def done(self) -> bool:
        return self.travelled >= self.distance

    def advance(self, dt: float) -> float:
        """Distance after the next step; exactly ``distance`` at the end."""
        remaining = self.distance - self.travelled
        # the fastest rate from which a whole number of braking steps still fits into what remains
        step = self.acceleration * dt
        ceiling = step * (math.sqrt(0.25 + 2.0 * max(remaining, 0.0) / (step * dt)) - 0.5)
        self.rate = min(self.rate + step, self.speed, max(ceiling, 0.0))
        if self.rate * dt >= remaining or remaining <= 0.5 * step * dt:
            self.travelled, self.rate = self.distance, 0.0
        else:
            self.travelled += self.rate * dt
        return self.travelled


class MoveJoints:
    """``movej``: all joints start and arrive together; ``speed`` and ``acceleration`` are the leading joint's."""

    def __init__(self, *, goal: Sequence[float], speed: float, acceleration: float) -> None:
        self.goal = list(goal)
        self.done = False
        self._speed = min(speed, MAX_VELOCITY)
        self._acceleration = min(acceleration, MAX_ACCELERATION)
        self._start: list[float] | None = None
        self._ramp = Ramp(distance=0.0, speed=1.0, acceleration=1.0)
        self._braking = stop_joints(acceleration=acceleration)

    def advance(self, reference: Reference, *, dt: float) -> None:
        if self._start is None:
            if any(reference.velocities):
                # a movej out of a motion: come to rest first (the real one blends)
                self._braking.advance(reference, dt=dt)
                return
            self._begin(reference)
        start = self._start or self.goal
        travelled = self._ramp.advance(dt)
        fraction = travelled / self._ramp.distance if self._ramp.distance > 0.0 else 1.0
        for joint in AXES:
            position = start[joint] + fraction * (self.goal[joint] - start[joint])
            reference.move(joint=joint, velocity=(position - reference.positions[joint]) / dt, dt=dt)
        if self._ramp.done:
            reference.rest()
            self.done = True

    def _begin(self, reference: Reference) -> None:
        self._start = list(reference.positions)
        distance = max(abs(goal - start) for goal, start in zip(self.goal, self._start, strict=True))
        self._ramp = Ramp(distance=distance, speed=self._speed, acceleration=self._acceleration)


FREEDRIVE_INERTIA = (1.5, 1.5, 0.8, 0.2, 0.2, 0.1)
FREEDRIVE_DAMPING = (6.0, 6.0, 4.0, 1.0, 1.0, 0.5)
"""kg m^2 and N m s/rad felt by a hand in freedrive: orders of magnitude for a UR5e, not measured."""


class Freedrive:
    """Compliance: the joints give way to the torques of a hand and come to rest by themselves."""

    done = False

    def __init__(self, *, free: Sequence[bool] = (True,) * NUM_JOINTS) -> None:
        self.torques = [0.0] * NUM_JOINTS
        self._free = tuple(free)

    def advance(self, reference: Reference, *, dt: float) -> None:
        for joint in AXES:
            inertia, damping = FREEDRIVE_INERTIA[joint], FREEDRIVE_DAMPING[joint]
            push = self.torques[joint] if self._free[joint] else 0.0
            velocity = (inertia * reference.velocities[joint] + dt * push) / (inertia + dt * damping)
            reference.move(joint=joint, velocity=min(max(velocity, -MAX_VELOCITY), MAX_VELOCITY), dt=dt)
