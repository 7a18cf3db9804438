"""What the controller node needs of a gripper."""

import math
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from mola_core.contracts.errors import GripperError


@dataclass(frozen=True, slots=True)
class GripperTarget:
    """Where to, how fast, how hard."""

    opening: float
    """0 closed, 1 open."""
    speed: float
    """0..1 of the fastest."""
    force: float
    """0..1 of the strongest."""


@dataclass(frozen=True, slots=True)
class GripperState:
    """What the gripper last said; the newest known values stay when it falls silent, with their old stamp."""

    opening: float | None
    """0 closed, 1 open; None before the first answer and without a gripper."""
    moving: bool
    blocked: bool
    """The fingers stopped at something before their target: it holds an object, or hit one."""
    fault: GripperError | None
    """Silent, stuck, not activated or a fault of its own; None while all is well."""
    stamp_ns: int
    """When the gripper said so; 0 before the first answer."""


class Gripper(Protocol):
    """Two fingers that go to an opening. Callable from any thread once open."""

    def __enter__(self) -> Self:
        """Connect and make ready; may move the fingers (a Robotiq that was not active opens and closes). Bounded.

        Raises:
            GripperError: not reachable, or does not become ready.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; the fingers stay where they are."""
        ...

    def move(self, *, opening: float, speed: float | None = None, force: float | None = None) -> None:
        """Go to ``opening`` (0 closed, 1 open); None takes the site's speed and force (0..1). Returns at once.

        Only the newest target counts. One given while the gripper is lost is forgotten, not executed later.

        Raises:
            ValueError: a value is not within 0..1. Nothing was changed.
        """
        ...

    def state(self) -> GripperState:
        """The newest state; never blocks."""
        ...

    def reactivate(self) -> None:
        """The operator resumes: a gripper that lost its activation may activate itself, which moves its fingers.

        Returns at once; without this call a lost gripper stands still however long it is back.
        """
        ...


def checked_target(*, opening: float, speed: float, force: float) -> GripperTarget:
    """The target, if every value is within 0..1.

    Raises:
        ValueError: one is not; names it.
    """
    for name, value in (("opening", opening), ("speed", speed), ("force", force)):
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise ValueError(f"gripper {name} must be within 0..1, got {value}")
    return GripperTarget(opening=float(opening), speed=float(speed), force=float(force))
