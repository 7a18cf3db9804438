"""The path that a person's motion draws ahead of the arm, from the commanded state on.

It is continued from where it has got to: each piece starts at the point of the one before, with its velocity, and bends
towards the velocity wanted now. Successive chunks are cut from one and the same path and need no splicing.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.geometry import Transform, rotation_from_rotvec

Velocity = Float[np.ndarray, "6"]
_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Ramp:
    """A velocity that changes evenly and then stays."""

    start: Velocity
    end: Velocity
    duration_s: float

    def velocity(self, time_s: float) -> Velocity:
        """At ``time_s`` (>= 0) after the start."""
        share = 1.0 if time_s >= self.duration_s else time_s / self.duration_s
        velocity: Velocity = self.start + share * (self.end - self.start)
        return velocity

    def displacement(self, time_s: float) -> Velocity:
        """Integral of the velocity from the start on."""
        ramped_s = min(time_s, self.duration_s)
        way: Velocity = 0.5 * (self.start + self.velocity(ramped_s)) * ramped_s + self.end * (time_s - ramped_s)
        return way


@dataclass(frozen=True, slots=True)
class TcpPoint:
    """A pose of the TCP and its twist in the base's axes."""

    base_from_tcp: Transform
    velocity: Velocity

    def moved(self, ramp: Ramp, time_s: float) -> "TcpPoint":
        """Along ``ramp`` for ``time_s``; turns about one axis, which is exact while its direction stays."""
        step = ramp.displacement(time_s)
        moved = self.base_from_tcp.copy()
        moved[:3, 3] += step[:3]
        moved[:3, :3] = rotation_from_rotvec(step[3:]) @ moved[:3, :3]
        return TcpPoint(moved, ramp.velocity(time_s))


@dataclass(frozen=True, slots=True)
class JointPoint:
    """Joint positions and velocities."""

    positions: Float[np.ndarray, "6"]
    velocity: Velocity

    def moved(self, ramp: Ramp, time_s: float) -> "JointPoint":
        """Along ``ramp`` for ``time_s``."""
        return JointPoint(self.positions + ramp.displacement(time_s), ramp.velocity(time_s))


Point = TypeVar("Point", TcpPoint, JointPoint)


class Path(Generic[Point]):
    """Pieces of motion, the newest last; stamps are those at which the arm shall be there."""

    def __init__(self, start_ns: int, point: Point) -> None:
        """Begin at ``point`` and go on with its velocity."""
        still = Ramp(point.velocity, point.velocity, 0.0)
        self._pieces: deque[tuple[int, Point, Ramp]] = deque([(start_ns, point, still)], maxlen=_REMEMBERED)

    def at(self, stamp_ns: int) -> Point:
        """Where the path is at ``stamp_ns``; before its beginning, its beginning."""
        for start_ns, point, ramp in reversed(self._pieces):
            if start_ns <= stamp_ns:
                return point.moved(ramp, (stamp_ns - start_ns) / NS_PER_S)
        return self._pieces[0][1]

    def bend(self, stamp_ns: int, *, velocity: Velocity, within_s: float) -> None:
        """Change to ``velocity`` from ``stamp_ns`` on, evenly within ``within_s``; what was meant for later is forgotten."""
        point = self.at(stamp_ns)
        while len(self._pieces) > 1 and self._pieces[-1][0] >= stamp_ns:
            self._pieces.pop()
        self._pieces.append((stamp_ns, point, Ramp(point.velocity, velocity, within_s)))
