"""A device that plays a timed list of motions: for tests, demonstrations and benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import LeaderJoints, TeleopCommand, Twist, TwistFrame


@dataclass(frozen=True, slots=True)
class ScriptedStep:
    """One motion, held for a while."""

    duration_s: float
    motion: Twist | LeaderJoints
    gripper_opening: float | None = None
    enabled: bool = True


class ScriptedTeleop:
    """Behind :class:`mola_drivers.teleop.protocol.TeleopDevice`. Time starts with the first :meth:`read`, or at a stamp.

    Before the first step and after the last one it is alive, with the deadman released.
    """

    name = "scripted"

    def __init__(self, steps: Sequence[ScriptedStep], *, start_ns: int | None = None) -> None:
        """Raises ValueError for a step that takes no time."""
        for number, step in enumerate(steps):
            if not step.duration_s > 0:
                raise ValueError(
                    f"step {number} of a scripted device lasts {step.duration_s} s; it must be more than 0"
                )
        self._steps = tuple(steps)
        self._ends_ns = np.cumsum([round(step.duration_s * NS_PER_S) for step in steps], dtype=np.int64)
        self._open = False
        self._given_start_ns = start_ns
        self._start_ns: int | None = None

    def __enter__(self) -> Self:
        self._open = True
        self._start_ns = self._given_start_ns
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    def read(self, now_ns: int) -> TeleopCommand:
        if not self._open:
            raise TeleopError("the scripted device is not open; use it inside `with device:`")
        if self._start_ns is None:
            self._start_ns = now_ns
        index = int(np.searchsorted(self._ends_ns, now_ns - self._start_ns, side="right"))
        if index == len(self._steps) or now_ns < self._start_ns:
            rest = Twist(velocity=np.zeros(6), frame=TwistFrame.BASE)
            return TeleopCommand(stamp_ns=now_ns, motion=rest, gripper_opening=None, enabled=False, alive=True)
        step = self._steps[index]
        return TeleopCommand(
            stamp_ns=now_ns,
            motion=step.motion,
            gripper_opening=step.gripper_opening,
            enabled=step.enabled,
            alive=True,
        )
