"""Fingers that should move and do not."""

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import GripperError
from mola_drivers.gripper.protocol import GripperState

STUCK_AFTER_NS = NS_PER_S
_ARRIVED = 0.03
_PROGRESS = 0.005


class StuckDetector:
    """Compares the opening asked for with the opening reported. Pure of time: its caller brings ``now_ns``."""

    def __init__(self) -> None:
        self._target: float | None = None
        self._opening: float | None = None
        self._progress_ns = 0

    def expect(self, *, opening: float, now_ns: int) -> None:
        """A new target has been sent. A repeated one changes nothing: it must not hide that nothing moves."""
        if self._target is None or abs(opening - self._target) > _PROGRESS:
            self._progress_ns = now_ns
        self._target = opening

    def forget(self) -> None:
        """No target is known any more."""
        self._target = self._opening = None

    def check(self, state: GripperState, *, now_ns: int) -> GripperError | None:
        """The fault, once the fingers have neither arrived, nor met something, nor moved for a second."""
        if self._target is None or state.opening is None:
            return None
        moved = self._opening is None or abs(state.opening - self._opening) > _PROGRESS
        if moved:
            self._opening = state.opening
        if moved or state.blocked or abs(state.opening - self._target) <= _ARRIVED:
            self._progress_ns = now_ns
            return None
        if now_ns - self._progress_ns < STUCK_AFTER_NS:
            return None
        return GripperError(
            f"gripper is stuck at opening {state.opening:.2f}, asked for {self._target:.2f}; free the fingers"
        )
