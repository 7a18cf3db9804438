"""Reading a stop off the controller's own 500 Hz record of the arm.

The record comes from the twin's controller, not from our servo process, so it also tells the truth about a servo
process that has just been killed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import MolaError

REST_SPEED = 0.01
"""rad/s: the fastest joint is at rest below this."""
_NOISE = 0.002
"""rad/s: speeds that differ by less are the same when looking for where the braking began."""


@dataclass(frozen=True, slots=True)
class ArmTrace:
    """What the controller's record says; rows in order of time."""

    stamps_ns: Int[np.ndarray, "rows"]
    """Epoch."""
    joint_velocities: Float[np.ndarray, "rows 6"]
    """rad/s."""
    program_running: Bool[np.ndarray, "rows"]

    @property
    def speeds(self) -> Float[np.ndarray, "rows"]:
        """Speed of the fastest joint, rad/s."""
        return np.abs(self.joint_velocities).max(axis=1)


@dataclass(frozen=True, slots=True)
class Stop:
    """How a moving arm came to rest after a fault; times are milliseconds after the fault."""

    speed_at_fault: float
    """rad/s, fastest joint."""
    onset_ms: float
    """Braking began: speeds only fell from here on, or the robot program stopped, whichever came first."""
    program_stopped_ms: float | None
    """None: the program kept running (the servo process braked the arm itself)."""
    rest_ms: float
    """The fastest joint fell below :data:`REST_SPEED` and stayed there."""
    moved_after_rest: float
    """rad: largest joint motion between rest and the end of the record, from velocities; 0 is what must be."""


def measure_stop(trace: ArmTrace, *, fault_ns: int) -> Stop:
    """The stop that followed ``fault_ns``.

    Raises:
        MolaError: the record does not cover the fault, the arm was not moving then, or it never came to rest.
    """
    after = np.flatnonzero(trace.stamps_ns >= fault_ns)
    if after.size == 0 or after[0] == 0:
        raise MolaError(f"the record of the arm does not cover the fault at {fault_ns}; record for longer")
    first = int(after[0])
    speeds = trace.speeds
    if speeds[first] < 2 * REST_SPEED:
        raise MolaError(f"the arm was not moving when the fault came ({speeds[first]:.4f} rad/s)")
    rest = _rest_row(speeds, first)
    stops = np.flatnonzero(~trace.program_running[first:])
    stopped = first + int(stops[0]) if stops.size else None
    onset = _braking_row(speeds, first=first, rest=rest)
    if stopped is not None:
        onset = min(onset, stopped)
    return Stop(
        speed_at_fault=float(speeds[first]),
        onset_ms=_milliseconds(trace, onset, fault_ns),
        program_stopped_ms=None if stopped is None else _milliseconds(trace, stopped, fault_ns),
        rest_ms=_milliseconds(trace, rest, fault_ns),
        moved_after_rest=_travel(trace, rest),
    )


def _rest_row(speeds: Float[np.ndarray, "rows"], first: int) -> int:
    """First row from which the arm rests for good within the record; it may have been pushed on once in between."""
    moving = np.flatnonzero(speeds[first:] >= REST_SPEED)
    rest = first + int(moving[-1]) + 1 if moving.size else first
    if rest >= speeds.size:
        raise MolaError(f"the arm still moved at {speeds[-1]:.3f} rad/s when the record ended")
    return rest


def _braking_row(speeds: Float[np.ndarray, "rows"], *, first: int, rest: int) -> int:
    """Walk back from rest for as long as the speed was higher before."""
    row = rest
    highest = speeds[rest]
    while row > first and speeds[row - 1] >= highest - _NOISE:
        highest = max(highest, speeds[row - 1])
        row -= 1
    # the flat part before the braking also satisfies "not lower"; the onset is where the plateau is left
    plateau = np.flatnonzero(speeds[row : rest + 1] >= highest - _NOISE)
    return row + int(plateau[-1])


def _travel(trace: ArmTrace, rest: int) -> float:
    seconds = np.diff(trace.stamps_ns[rest:]) / 1e9
    if seconds.size == 0:
        return 0.0
    positions = np.cumsum(trace.joint_velocities[rest + 1 :] * seconds[:, None], axis=0)
    return float(np.abs(positions).max(initial=0.0))


def _milliseconds(trace: ArmTrace, row: int, fault_ns: int) -> float:
    return max(0.0, float(trace.stamps_ns[row] - fault_ns) / NS_PER_MS)
