"""A bare flange."""

from types import TracebackType
from typing import Self

from mola_drivers.gripper.protocol import GripperState, checked_target

_STATE = GripperState(opening=None, moving=False, blocked=False, fault=None, stamp_ns=0)


class NoGripper:
    """Behind :class:`mola_drivers.gripper.protocol.Gripper`; checks and ignores targets, since every chunk has them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def move(self, *, opening: float, speed: float | None = None, force: float | None = None) -> None:
        checked_target(opening=opening, speed=1.0 if speed is None else speed, force=1.0 if force is None else force)

    def state(self) -> GripperState:
        return _STATE

    def reactivate(self) -> None:
        pass
