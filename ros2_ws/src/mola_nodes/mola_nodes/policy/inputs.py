"""The newest of everything a policy sees through ROS, and whether it still sees."""

import threading
from collections.abc import Iterable

from mola_interfaces.msg import ServoStatus

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.types import RobotState

_CLEARLY_NS = 20 * NS_PER_MS
"""Frames of several cameras come in turn, states in between: not every one of them is worth a chunk."""
_ENGAGED = (ServoStatus.HOLDING, ServoStatus.EXECUTING)


class NewestInputs:
    """Written by the executor's threads, waited for by the rollout's."""

    def __init__(self, roles: Iterable[str], *, lost_after_ms: int, clock: Clock) -> None:
        """Inputs count as lost when the newest is older than ``lost_after_ms``."""
        self._clock = clock
        self._lost_after_ms = lost_after_ms
        self.lost_after_s = lost_after_ms / 1000.0
        self._frame_stamps_ns = dict.fromkeys(roles, 0)
        self._state: RobotState | None = None
        self._servo: ServoStatus | None = None
        self._changed = threading.Condition()
        self._nudged = False

    def note_frame(self, role: str, stamp_ns: int) -> None:
        """A frame of the camera with ``role`` has arrived."""
        with self._changed:
            self._frame_stamps_ns[role] = stamp_ns
            self._changed.notify_all()

    def note_state(self, state: RobotState) -> None:
        """A robot state has arrived."""
        self._state = state  # comes twice as often as frames, which wake whoever waits

    def note_servo(self, status: ServoStatus) -> None:
        """The controller has reported."""
        self._servo = status

    @property
    def state(self) -> RobotState | None:
        """The newest robot state; None before the first."""
        return self._state

    @property
    def servo(self) -> ServoStatus | None:
        """The newest report of the controller; None before the first."""
        return self._servo

    @property
    def servo_is_engaged(self) -> bool:
        """The controller says that it takes chunks."""
        return self._servo is not None and self._servo.state in _ENGAGED

    @property
    def servo_executes(self) -> bool:
        """The controller says that the arm is moving on a chunk."""
        return self._servo is not None and self._servo.state in {ServoStatus.EXECUTING, ServoStatus.BRAKING}

    def nudge(self) -> None:
        """There is something else to do than to wait: whoever waits now, or next, returns at once."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def wait_seen(self, *, after_ns: int, timeout_s: float) -> int | None:
        """:meth:`oldest_stamp_ns` once it is clearly later than ``after_ns``, or as it is when nudged; None if neither came within
        ``timeout_s``.

        That is: as soon as there is a newer frame of every camera, so that what is sent then claims the most.
        """
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * NS_PER_S)
        with self._changed:
            while (seen_ns := self.oldest_stamp_ns()) < after_ns + _CLEARLY_NS and not self._nudged:
                left_s = (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
            self._nudged = False
            return seen_ns

    def oldest_stamp_ns(self) -> int:
        """Oldest among the newest inputs; what a chunk sent now may claim to have seen."""
        return min(self._stamps_ns().values())

    def missing(self) -> str:
        """Which inputs are lost, and for how long; empty while all arrive."""
        now_ns = self._clock.now_ns()
        lost = []
        for name, stamp_ns in self._stamps_ns().items():
            age_ms = (now_ns - stamp_ns) / NS_PER_MS
            if not stamp_ns:
                lost.append(f"{name} never arrived")
            elif age_ms > self._lost_after_ms:
                lost.append(f"the newest {name} is {age_ms:.0f} ms old")
        return "; ".join(lost)

    def _stamps_ns(self) -> dict[str, int]:
        frames = {f"{role} frame": stamp_ns for role, stamp_ns in self._frame_stamps_ns.items()}
        return {**frames, "robot state": 0 if self._state is None else self._state.stamp_ns}
