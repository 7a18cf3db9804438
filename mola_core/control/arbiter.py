"""Who may move the arm: a person at a teleoperation device comes before any policy, and nobody interleaves with another.

Pure, and asked at one place only: the door through which all chunks pass, in the order in which they pass. A person's first
chunk takes the arm; from then on nobody else gets through. Letting go (a release) gives it back once the servo says that the
arm has come to rest; what then comes from a policy passes the servo's delta gate, as every motion that starts does. A
device that falls silent gives it back after the site's ``stale_ms``, by when the servo has braked and stopped by itself.
"""

from typing import Protocol

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.teleop import is_teleop
from mola_core.control.servo_types import ServoState

_SEEN_NS = 20 * NS_PER_MS
"""A report of the servo from so long after the release has seen it."""
_AT_REST = (ServoState.HOLDING, ServoState.STOPPED)


class ServoView(Protocol):
    """What the arbiter needs to know of the servo; ``link_records.ServoStatus`` fits."""

    @property
    def stamp_ns(self) -> int:
        """Of the tick that is reported."""
        ...

    @property
    def state(self) -> ServoState:
        """Where the servo stood in it."""
        ...


class Arbiter:
    """Remembers which person holds the arm. ``check`` and ``admit`` are called for each chunk, in their order."""

    def __init__(self, *, stale_ms: int) -> None:
        self._stale_ns = stale_ms * NS_PER_MS
        self._holder = ""
        self._last_ns = 0
        self._released_ns: int | None = None

    @property
    def holder(self) -> str:
        """Source of the person who has the arm; empty while nobody has."""
        return self._holder

    def check(self, *, source: str, is_release: bool, servo: ServoView, now_ns: int) -> None:
        """Raises ChunkRejectedError: somebody else has the arm."""
        self._give_back(servo=servo, now_ns=now_ns)
        if servo.state in (ServoState.GUIDED, ServoState.SETTLING):
            raise ChunkRejectedError(
                "a person guides the arm by hand; it takes chunks again once the hand has let go and it rests"
            )
        if self._holder and source != self._holder:
            if self._released_ns is not None:
                raise ChunkRejectedError(
                    f"{self._holder!r} has just let go and the arm still comes to rest; send again"
                )
            raise ChunkRejectedError(f"{self._holder!r} has taken over; release its deadman to give the arm back")
        if is_release and not self._holder:
            raise ChunkRejectedError(f"nothing of {source!r} moves the arm, so there is nothing to release")

    def admit(self, *, source: str, is_release: bool, now_ns: int) -> None:
        """Note that a chunk of ``source`` was let through at ``now_ns``."""
        if not is_teleop(source):
            return
        self._holder, self._last_ns = source, now_ns
        self._released_ns = now_ns if is_release else None

    def _give_back(self, *, servo: ServoView, now_ns: int) -> None:
        silent = now_ns - self._last_ns > self._stale_ns and self._released_ns is None
        rests = (
            self._released_ns is not None and servo.state in _AT_REST and servo.stamp_ns > self._released_ns + _SEEN_NS
        )
        if silent or rests:
            self._holder, self._released_ns = "", None
