"""A gripper in the same process that behaves over time, on an injected clock."""

from dataclasses import replace
from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import GripperError
from mola_drivers.gripper.protocol import GripperState, GripperTarget, checked_target
from mola_drivers.gripper.stuck import StuckDetector

FULL_TRAVEL_S = 0.6
"""From open to closed at full speed, about that of a 2F-85."""


class SimGripper:
    """Behind :class:`mola_drivers.gripper.protocol.Gripper`; ``obstacle_opening`` and ``jammed`` are for the test."""

    def __init__(self, *, clock: Clock, opening: float = 1.0) -> None:
        self._clock = clock
        self._opening = opening
        self._target = GripperTarget(opening=opening, speed=1.0, force=1.0)
        self._stepped_ns = clock.monotonic_ns()
        self._stuck = StuckDetector()
        self._open = False
        self.obstacle_opening: float | None = None
        """Something this thick, as a fraction of the full opening, lies between the fingers."""
        self.jammed = False

    def __enter__(self) -> Self:
        self._open = True
        self._stepped_ns = self._clock.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    def move(self, *, opening: float, speed: float | None = None, force: float | None = None) -> None:
        target = checked_target(
            opening=opening, speed=1.0 if speed is None else speed, force=1.0 if force is None else force
        )
        self._advance()
        self._target = target
        self._stuck.expect(opening=target.opening, now_ns=self._stepped_ns)

    def state(self) -> GripperState:
        if not self._open:
            fault = GripperError("the gripper is not connected")
            return GripperState(opening=None, moving=False, blocked=False, fault=fault, stamp_ns=0)
        self._advance()
        blocked = self._opening == self.obstacle_opening and self._target.opening < self._opening
        arrived = self._opening == self._target.opening
        state = GripperState(
            opening=self._opening,
            moving=not (arrived or blocked or self.jammed),
            blocked=blocked,
            fault=None,
            stamp_ns=self._clock.now_ns(),
        )
        return replace(state, fault=self._stuck.check(state, now_ns=self._stepped_ns))

    def reactivate(self) -> None:
        """It never loses its activation."""

    def _advance(self) -> None:
        now_ns = self._clock.monotonic_ns()
        elapsed_s, self._stepped_ns = (now_ns - self._stepped_ns) / NS_PER_S, now_ns
        if self.jammed or not self._open:
            return
        reach = self._target.speed * elapsed_s / FULL_TRAVEL_S
        change = self._target.opening - self._opening
        opening = self._opening + min(max(change, -reach), reach)
        if self.obstacle_opening is not None and opening < self.obstacle_opening <= self._opening:
            opening = self.obstacle_opening
        self._opening = opening
