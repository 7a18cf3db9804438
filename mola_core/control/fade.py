"""How the difference between where the arm is commanded to be and where a new chunk wants it goes away.

Time-optimal within half of each limit. Time-optimal also means that a fade which is interrupted by the next splice and
planned again goes on as before; a fade of fixed shape would begin anew with each chunk, and with chunks coming faster
than it lasts never end.
"""

import numpy as np
from ruckig import InputParameter, Result, Ruckig, RuckigError, Trajectory

from mola_core.contracts.types import NUM_JOINTS
from mola_core.control.motion import JointMotion, MotionLimits

FRACTION = 0.5
"""A splice may use half of each limit; the rest is left to the chunk's own motion."""
_NEGLIGIBLE = 1e-9


class Fade:
    """An offset to the chunk's own path that ends at zero."""

    def __init__(self, trajectory: Trajectory | None) -> None:
        self._trajectory = trajectory
        self.duration_s: float = 0.0 if trajectory is None else trajectory.duration

    def add_to(self, wanted: JointMotion, *, elapsed_s: float) -> JointMotion:
        """``wanted`` plus what is left of the offset ``elapsed_s`` after the splice."""
        if self._trajectory is None or elapsed_s >= self.duration_s:
            return wanted
        positions, velocities, accelerations = self._trajectory.at_time(max(0.0, elapsed_s))
        return JointMotion(
            [a + b for a, b in zip(wanted.positions, positions, strict=True)],
            [a + b for a, b in zip(wanted.velocities, velocities, strict=True)],
            [a + b for a, b in zip(wanted.accelerations, accelerations, strict=True)],
        )


class Fader:
    """Plans fades; kept from splice to splice, because making ruckig's objects takes longer than using them."""

    def __init__(self, limits: MotionLimits) -> None:
        self._ruckig = Ruckig(NUM_JOINTS)
        self._input = InputParameter(NUM_JOINTS)
        self._input.max_velocity = [FRACTION * value for value in limits.velocity]
        self._input.max_acceleration = [FRACTION * value for value in limits.acceleration]
        self._input.max_jerk = [FRACTION * value for value in limits.jerk]
        self._input.target_position = [0.0] * NUM_JOINTS
        self._bounds = FRACTION * np.array([limits.velocity, limits.acceleration])

    def plan(self, start: JointMotion, wanted: JointMotion) -> Fade:
        """From the difference ``start - wanted`` to none. Without a plan the limiter deals with the whole difference.

        Differences in velocity and acceleration beyond what a fade may use are left to the limiter as well: shedding
        them slowly would carry the arm far away.
        """
        gap = np.array([start.positions, start.velocities, start.accelerations]) - np.array(
            [wanted.positions, wanted.velocities, wanted.accelerations]
        )
        if not np.abs(gap).max() > _NEGLIGIBLE:
            return Fade(None)
        gap[1:] = np.clip(gap[1:], -self._bounds, self._bounds)
        plan, trajectory = self._input, Trajectory(NUM_JOINTS)
        plan.current_position, plan.current_velocity, plan.current_acceleration = gap.tolist()
        try:
            found = self._ruckig.calculate(plan, trajectory) in (Result.Working, Result.Finished)
        except RuckigError:
            found = False
        return Fade(trajectory if found else None)
