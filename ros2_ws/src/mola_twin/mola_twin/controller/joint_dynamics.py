"""Six joints that follow a reference as an arm does: close behind it, never ahead, never in steps."""

import math
from collections.abc import Sequence

from mola_core.contracts.errors import ConfigError
from mola_twin.controller.motions import AXES, NUM_JOINTS, Brake, Hold, Motion, Reference, ServoJoints

FOLLOW_TIME_S = 0.004
"""Time constant with which the drives follow the reference. With servoj's lookahead of 0.03 s it makes the 34 ms of lag
that users report."""


class JointDynamics:
    """The arm below the program: a motion moves the reference, the drives follow it.

    All quantities are in rad and s. Not thread-safe.
    """

    def __init__(self, positions: Sequence[float]) -> None:
        if len(positions) != NUM_JOINTS or not all(math.isfinite(value) for value in positions):
            raise ConfigError(f"six finite joint positions are needed, got {list(positions)}")
        self.positions = [float(value) for value in positions]
        self.velocities = [0.0] * NUM_JOINTS
        self.reference = Reference(positions=list(self.positions))
        self.motion: Motion = Hold()
        self._suspended: Motion | None = None
        self._follow = (0.0, 0.0)

    def start(self, motion: Motion) -> None:
        """Replace the running motion; the new one begins from the reference as it is, velocity included."""
        self.motion = motion
        self._suspended = None

    def servo(self, target: Sequence[float], *, lookahead_s: float, gain: float) -> None:
        """One ``servoj`` target; keeps a running servo motion."""
        if isinstance(self.motion, ServoJoints):
            self.motion.retarget(target=target, lookahead_s=lookahead_s, gain=gain)
        else:
            self.start(ServoJoints(target=target, lookahead_s=lookahead_s, gain=gain))

    def brake(self) -> None:
        """Engage the brakes and remember what was going on; see :meth:`resume`."""
        if self._suspended is None:
            self._suspended = self.motion
            self.motion = Brake()

    def resume(self) -> None:
        """Take up what :meth:`brake` interrupted, as the real controller does when a paused program is continued."""
        if self._suspended is not None:
            self.motion, self._suspended = self._suspended, None

    @property
    def braking(self) -> bool:
        """True from :meth:`brake` until :meth:`resume` or the next :meth:`start`."""
        return self._suspended is not None

    @property
    def speed(self) -> float:
        """The fastest joint, rad/s."""
        return max(map(abs, self.velocities))

    def step(self, dt: float, *, scaling: float = 1.0) -> None:
        """Advance by ``dt`` seconds; ``scaling`` (0..1) slows the motion's own time, as the speed slider does.

        Brakes do not know of the slider.
        """
        reference = self.reference
        if scaling == 1.0 or isinstance(self.motion, Brake):
            self.motion.advance(reference, dt=dt)
        elif scaling <= 0.0:
            reference.rest()
        else:
            self._advance_scaled(dt, scaling=scaling)
        follow = self._follow_factor(dt)
        positions, velocities, targets = self.positions, self.velocities, reference.positions
        for joint in AXES:
            moved = follow * (targets[joint] - positions[joint])
            positions[joint] += moved
            velocities[joint] = moved / dt

    def _advance_scaled(self, dt: float, *, scaling: float) -> None:
        """The motion runs in its own, slower time; the velocities it keeps are in that time too."""
        reference = self.reference
        reference.velocities[:] = [value / scaling for value in reference.velocities]
        self.motion.advance(reference, dt=dt * scaling)
        reference.velocities[:] = [value * scaling for value in reference.velocities]
        reference.accelerations[:] = [value * scaling * scaling for value in reference.accelerations]

    def _follow_factor(self, dt: float) -> float:
        known_dt, factor = self._follow
        if known_dt != dt:
            factor = 1.0 - math.exp(-dt / FOLLOW_TIME_S)
            self._follow = (dt, factor)
        return factor
