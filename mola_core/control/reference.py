"""The path that a chunk asks for, smooth to the second derivative, and the splice onto it.

Rows are control points of a uniform cubic B-spline. It stays inside the hull of the rows, whatever they are, and the
jerk it asks for is their third difference and no more: a curve forced through noisy rows would ask for thirty times as
much. Where the rows are smooth enough for the arm to follow exactly, they are sharpened first so that the curve passes
through them; where they are too wild for it, they are smoothed just enough. The curve comes to rest one period after the
last row.

A new chunk never moves the reference at once: the difference between where the arm is commanded to be (with its
velocity and acceleration) and where the chunk wants it fades (:mod:`mola_core.control.fade`).
"""

from functools import cache

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_S
from mola_core.control.fade import Fader
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.motion import JointMotion, MotionLimits

_DERIVATIVE = np.diag(np.arange(1.0, 4.0), k=-1)
"""Maps coefficients of a cubic, lowest power first, to those of its derivative."""

_PATH_FRACTION = 0.75
"""Of acceleration and jerk; the rest is left to fades and to catching up."""
_SMOOTHINGS = (1, 3, 8, 20, 50)
# Coefficients of a B-spline's segment from the four control points around it; rows are powers of u.
_BASIS = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6.0

Cubics = Float[np.ndarray, "segments 18 4"]
"""Rows: positions, then d/du, then d2/du2 of six joints; columns: powers of u in [0, 1]."""


class Reference:
    """Position, velocity and acceleration wanted at any stamp, for one chunk, from the moment it was spliced in."""

    def __init__(
        self, chunk: JointChunk, *, spliced_ns: int, start: JointMotion, fader: Fader, limits: MotionLimits
    ) -> None:
        """Splice ``chunk`` onto ``start``, the commanded state of ``spliced_ns``."""
        self.chunk = chunk
        self._first: list[float] = chunk.joint_targets[0].tolist()
        self._last: list[float] = chunk.joint_targets[-1].tolist()
        self._cubics = _cubics(chunk, limits)
        self._rate = NS_PER_S / chunk.period_ns
        self._spliced_ns = spliced_ns
        self._fade = fader.plan(start, self._chunk_sample(spliced_ns))

    def sample(self, stamp_ns: int) -> JointMotion:
        """What is wanted at ``stamp_ns``; before the first row that row, after the end the last row, at rest."""
        elapsed_s = (stamp_ns - self._spliced_ns) / NS_PER_S
        return self._fade.add_to(self._chunk_sample(stamp_ns), elapsed_s=elapsed_s)

    @property
    def last_row(self) -> list[float]:
        """Joint positions where the chunk ends, rad."""
        return self._last

    def row_at(self, stamp_ns: int) -> int:
        """Row in force at ``stamp_ns``: -1 before the first, ``horizon`` once the last row's period has passed."""
        return min((stamp_ns - self.chunk.start_ns) // self.chunk.period_ns, self.chunk.horizon)

    def ends_before(self, stamp_ns: int) -> bool:
        """Nothing moves in the reference any more at ``stamp_ns``."""
        faded_ns = self._spliced_ns + int(self._fade.duration_s * NS_PER_S)
        return stamp_ns > max(self.chunk.end_ns + self.chunk.period_ns, faded_ns)

    def _chunk_sample(self, stamp_ns: int) -> JointMotion:
        segment, rest_ns = divmod(stamp_ns - self.chunk.start_ns, self.chunk.period_ns)
        if segment < 0:
            return JointMotion.at_rest(self._first)
        if segment >= len(self._cubics):
            return JointMotion.at_rest(self._last)
        u, rate = rest_ns / self.chunk.period_ns, self._rate
        values = (self._cubics[segment] @ np.array([1.0, u, u * u, u * u * u])).tolist()
        return JointMotion(
            values[:6], [rate * value for value in values[6:12]], [rate * rate * value for value in values[12:]]
        )


def _cubics(chunk: JointChunk, limits: MotionLimits) -> Cubics:
    if chunk.horizon == 1:
        return np.zeros((0, 18, 4))
    points = _control_points(chunk.joint_targets, limits=limits, period_s=chunk.period_ns / NS_PER_S)
    windows = np.stack([points[:-3], points[1:-2], points[2:-1], points[3:]])
    cubics = np.einsum("pw,wsj->sjp", _BASIS, windows)
    first = cubics @ _DERIVATIVE
    return np.concatenate([cubics, first, first @ _DERIVATIVE], axis=1)


def _control_points(
    rows: Float[np.ndarray, "rows 6"], *, limits: MotionLimits, period_s: float
) -> Float[np.ndarray, "rows+3 6"]:
    """The sharpest control points whose curve the arm can follow, out of a few."""
    if len(rows) > 3:
        sharp = _padded(_sharpened(rows), bend=True)
        if _is_feasible(sharp, limits, period_s):
            return sharp
    points = _padded(rows, bend=False)
    for strength in _SMOOTHINGS:
        if _is_feasible(points, limits, period_s):
            break
        points = _padded(_smoothing(len(rows), strength) @ rows, bend=False)
    return points


def _sharpened(rows: Float[np.ndarray, "rows 6"]) -> Float[np.ndarray, "rows 6"]:
    """Control points whose curve passes through ``rows`` (to the fourth order in the period)."""
    bends = rows[2:] - 2.0 * rows[1:-1] + rows[:-2]
    sharp = rows.copy()
    sharp[1:-1] -= bends / 6.0
    sharp[0] -= bends[0] / 6.0
    return sharp


@cache
def _smoothing(num_rows: int, strength: int) -> Float[np.ndarray, "rows rows"]:
    """``strength`` passes of the kernel (1/4, 1/2, 1/4) that leave the first and the last row where they are."""
    once = np.eye(num_rows)
    for row in range(1, num_rows - 1):
        once[row, row - 1 : row + 2] = (0.25, 0.5, 0.25)
    return np.linalg.matrix_power(once, strength)


def _padded(points: Float[np.ndarray, "rows 6"], *, bend: bool) -> Float[np.ndarray, "rows+3 6"]:
    """With a control point before the first, for how the curve starts, and two after the last, so that it rests.

    ``bend``: it starts with the curvature that follows; otherwise straight.
    """
    before = 3.0 * (points[0] - points[1]) + points[2] if bend else 2.0 * points[0] - points[1]
    return np.concatenate([before[None], points, points[-1:], points[-1:]])


def _is_feasible(points: Float[np.ndarray, "points 6"], limits: MotionLimits, period_s: float) -> bool:
    """Whether the curve's acceleration and jerk, apart from the stop at its end, leave the limits some room."""
    second = np.diff(points[:-2], n=2, axis=0)
    third = np.abs(np.diff(second, axis=0))
    bends, twists = np.array(limits.acceleration), np.array(limits.jerk)
    return bool(
        (np.abs(second) <= _PATH_FRACTION * period_s**2 * bends).all()
        and (third <= _PATH_FRACTION * period_s**3 * twists).all()
    )
