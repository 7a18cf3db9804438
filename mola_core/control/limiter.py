"""Follows a moving reference within velocity, acceleration and jerk, from wherever the arm is commanded to be.

Each tick plans the way to the state that the reference will have a little later: per joint the quintic of least jerk, all
joints over the same time, the shortest one that keeps every limit. What is left of such a plan is the plan of the next
tick, so the reference is met in the end; from then on the time stays at its least, 20 ms, and a reference within the limits
is followed without error or chatter. One that no arm could follow is cut short: aiming further ahead skips what cannot
be reached. Where no quintic keeps the limits (mostly at their edge), ruckig plans the fastest way to a standstill.
"""

from math import sqrt

import numpy as np
from jaxtyping import Float
from ruckig import InputParameter, Result, Ruckig, RuckigError, Trajectory

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.types import NUM_JOINTS
from mola_core.control.brake import plan_brake
from mola_core.control.motion import JointMotion, MotionLimits
from mola_core.control.reference import Reference

SHORTEST_S, LONGEST_S = 0.02, 1.2
_GROWTH = 1.35
_ARRIVAL_FRACTION = 0.95
"""Plans arrive with at most this fraction of the limits, so that they can be left again."""
_SMOOTHING = 0.25
_SAMPLES = np.linspace(0.0, 1.0, 9)


class Limiter:
    """Keeps nothing but the time until the reference is met; the commanded state is handed in at each tick."""

    def __init__(self, *, limits: MotionLimits, period_ns: int) -> None:
        self._limits = limits
        self._period_s = period_ns / NS_PER_S
        self._meeting_s = SHORTEST_S
        self._bounds = np.repeat([limits.velocity, limits.acceleration, limits.jerk], len(_SAMPLES), axis=0)
        self._scale_exponents = np.repeat([1, 2, 3], len(_SAMPLES))[:, None]
        self._ruckig = Ruckig(NUM_JOINTS, self._period_s)
        self._trajectory = Trajectory(NUM_JOINTS)
        self._input = InputParameter(NUM_JOINTS)
        self._input.max_velocity = list(limits.velocity)
        self._input.max_acceleration = list(limits.acceleration)
        self._input.max_jerk = list(limits.jerk)

    @property
    def is_chasing(self) -> bool:
        """The limits hold the commanded state back from the reference."""
        return self._meeting_s > SHORTEST_S

    def step(self, motion: JointMotion, *, reference: Reference, stamp_ns: int) -> JointMotion:
        """The commanded state one tick after ``motion``, whose own reference is that of ``stamp_ns``."""
        before_s = self._meeting_s
        rest_s = max(SHORTEST_S, before_s - self._period_s)
        # Half the time may do as well, once the reference has changed for the better.
        for meeting_s in (max(SHORTEST_S, 0.5 * before_s), rest_s):
            followed = self._plan(motion, reference, stamp_ns, meeting_s)
            if followed is not None:
                return followed
        meeting_s = rest_s * _GROWTH
        while meeting_s < LONGEST_S:
            followed = self._plan(motion, reference, stamp_ns, meeting_s)
            if followed is not None:
                return followed
            meeting_s *= _GROWTH
        return self._approach(motion, reference.sample(stamp_ns + round(rest_s * NS_PER_S)))

    def _plan(self, motion: JointMotion, reference: Reference, stamp_ns: int, meeting_s: float) -> JointMotion | None:
        """One tick along the quintics that meet the reference after ``meeting_s``; None if they break a limit."""
        wanted = self._feasible(_smoothed(reference, stamp_ns=stamp_ns, meeting_s=meeting_s))
        coefficients = _quintics(motion, wanted, meeting_s)
        along = _CHECK @ coefficients
        if (np.abs(along) > self._bounds * meeting_s**self._scale_exponents).any():
            return None
        self._meeting_s = meeting_s
        return _evaluate(coefficients, self._period_s / meeting_s, meeting_s)

    def _feasible(self, wanted: JointMotion) -> JointMotion:
        limits = self._limits
        arrivals = [
            _feasible_arrival(v, a, v_max, a_max, j_max)
            for v, a, v_max, a_max, j_max in zip(
                wanted.velocities, wanted.accelerations, limits.velocity, limits.acceleration, limits.jerk, strict=True
            )
        ]
        return JointMotion(wanted.positions, [v for v, _ in arrivals], [a for _, a in arrivals])

    def _approach(self, motion: JointMotion, wanted: JointMotion) -> JointMotion:
        """One tick of the fastest way to stand still at ``wanted``: never beyond it for the sake of its speed."""
        plan = self._input
        plan.current_position = motion.positions
        plan.current_velocity = motion.velocities
        plan.current_acceleration = motion.accelerations
        plan.target_position = wanted.positions
        self._meeting_s = max(SHORTEST_S + self._period_s, min(LONGEST_S, self._meeting_s))
        try:
            found = self._ruckig.calculate(plan, self._trajectory) in (Result.Working, Result.Finished)
        except RuckigError:  # numerically it does not always find a way, though one exists
            found = False
        if not found:
            return plan_brake(motion, self._limits).at(self._period_s)
        positions, velocities, accelerations = self._trajectory.at_time(self._period_s)
        return JointMotion(positions, velocities, accelerations)


def _smoothed(reference: Reference, *, stamp_ns: int, meeting_s: float) -> JointMotion:
    """The reference at the meeting; the further ahead it is, the wider the stretch whose mean is aimed at.

    What is further ahead than the shortest time could not be followed in detail anyway, and to arrive with the speed of
    a single wiggle would make more of it than there was.
    """
    meeting_ns, half_s = stamp_ns + round(meeting_s * NS_PER_S), _SMOOTHING * (meeting_s - SHORTEST_S)
    here = reference.sample(meeting_ns)
    half_ns = round(half_s * NS_PER_S)
    if half_ns == 0:
        return here
    before, after = reference.sample(meeting_ns - half_ns), reference.sample(meeting_ns + half_ns)
    rate = 0.5 / half_s
    return JointMotion(
        [0.25 * (a + b) + 0.5 * p for p, a, b in zip(here.positions, before.positions, after.positions, strict=True)],
        [rate * (b - a) for a, b in zip(before.positions, after.positions, strict=True)],
        [rate * (b - a) for a, b in zip(before.velocities, after.velocities, strict=True)],
    )


def _feasible_arrival(v: float, a: float, v_max: float, a_max: float, j_max: float) -> tuple[float, float]:
    """The velocity and acceleration closest to those wanted that can be reached, and left again, within the limits."""
    v = max(-_ARRIVAL_FRACTION * v_max, min(_ARRIVAL_FRACTION * v_max, v))
    a_bound = min(_ARRIVAL_FRACTION * a_max, sqrt(2.0 * j_max * (v_max - abs(v))))
    return v, max(-a_bound, min(a_bound, a))


# A quintic in u = t / duration that begins with (p, v, a) and ends with (p, v, a), velocities and accelerations in
# units of u: coefficients, lowest power first, as rows.
_FROM_ENDS = np.array(
    [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 0.5, 0, 0, 0],
        [-10, -6, -1.5, 10, -4, 0.5],
        [15, 8, 1.5, -15, 7, -1],
        [-6, -3, -0.5, 6, -3, 0.5],
    ]
)
_DERIVATIVE = np.diag(np.arange(1.0, 6.0), k=1)
_POWERS = _SAMPLES[:, None] ** np.arange(6)
_CHECK = np.concatenate([_POWERS @ np.linalg.matrix_power(_DERIVATIVE, order) for order in (1, 2, 3)])
"""Velocity, acceleration and jerk at the samples, in units of u, from coefficients."""


def _quintics(start: JointMotion, end: JointMotion, duration_s: float) -> Float[np.ndarray, "6 joints"]:
    states = np.array(
        [start.positions, start.velocities, start.accelerations, end.positions, end.velocities, end.accelerations]
    )
    states[[1, 4]] *= duration_s
    states[[2, 5]] *= duration_s**2
    # Relative to the start: cancels rounding of the large powers.
    states[3] -= states[0]
    origin = states[0].copy()
    states[0] = 0.0
    coefficients: Float[np.ndarray, "6 joints"] = _FROM_ENDS @ states
    coefficients[0] = origin
    return coefficients


def _evaluate(coefficients: Float[np.ndarray, "6 joints"], u: float, duration_s: float) -> JointMotion:
    powers = np.array([1.0, u, u * u, u**3, u**4, u**5])
    first = _DERIVATIVE @ coefficients
    second = _DERIVATIVE @ first
    return JointMotion(
        (powers @ coefficients).tolist(),
        (powers @ first / duration_s).tolist(),
        (powers @ second / duration_s**2).tolist(),
    )
