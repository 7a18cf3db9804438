"""The arm itself as the device: a person guides it by hand for as long as another device's switch is held.

The arm's drives give way in the servo process alone, which owns the arm (see ARCHITECTURE.md); this device only says when.
UR's own free-drive button cannot be read by a client, hence the switch: a key, a gamepad's button, a pedal that types.
"""

from dataclasses import replace
from types import TracebackType
from typing import Self

from mola_core.contracts.teleop import HandGuidance, TeleopCommand
from mola_drivers.teleop.protocol import TeleopDevice


class FreedriveTeleop:
    """Behind :class:`mola_drivers.teleop.protocol.TeleopDevice`; gripper and buttons are those of the switch's device."""

    name = "freedrive"

    def __init__(self, switch: TeleopDevice) -> None:
        self._switch = switch

    def __enter__(self) -> Self:
        self._switch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._switch.__exit__(kind, error, trace)

    def read(self, now_ns: int) -> TeleopCommand:
        return replace(self._switch.read(now_ns), motion=HandGuidance())
