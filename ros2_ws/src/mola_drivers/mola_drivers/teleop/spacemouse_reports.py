"""What 3Dconnexion's mice say over HID: which models there are, and how their reports are laid out.

All models count a deflection of about 350 as full. Older ones send translation (report 1) and rotation (report 2) apart, newer
ones both in report 1; buttons are a bit field in report 3. The mouse's own axes are x to the right, y towards the person, z
down. Source: the reports as the open-source spacenavd driver documents them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FULL_DEFLECTION = 350.0
_TRANSLATION, _ROTATION, _BUTTONS = 1, 2, 3
_FROM_MOUSE = np.array([1.0, -1.0, -1.0, 1.0, -1.0, -1.0])
"""Mouse axes to x right, y away, z up."""


@dataclass(frozen=True, slots=True)
class SpaceMouseModel:
    """One product: which of its buttons do what, by bit."""

    name: str
    vendor: int
    product: int
    deadman: int = 0
    gripper: int = 1
    next_frame: int | None = None
    faster: int | None = None
    slower: int | None = None


def _pro(name: str, vendor: int, product: int) -> SpaceMouseModel:
    """Models with a keypad: left hand's Ctrl as the deadman, Esc for the gripper, 1, 2, 3 beside the menu."""
    return SpaceMouseModel(name, vendor, product, deadman=25, gripper=22, next_frame=12, faster=13, slower=14)


MODELS = (
    SpaceMouseModel("SpaceNavigator", 0x046D, 0xC626),
    SpaceMouseModel("SpaceNavigator for Notebooks", 0x046D, 0xC628),
    _pro("SpacePilot Pro", 0x046D, 0xC629),
    _pro("SpaceMouse Pro", 0x046D, 0xC62B),
    SpaceMouseModel("SpaceMouse Wireless", 0x256F, 0xC62E),
    SpaceMouseModel("SpaceMouse Wireless receiver", 0x256F, 0xC62F),
    _pro("SpaceMouse Pro Wireless", 0x256F, 0xC631),
    _pro("SpaceMouse Pro Wireless receiver", 0x256F, 0xC632),
    _pro("SpaceMouse Enterprise", 0x256F, 0xC633),
    SpaceMouseModel("SpaceMouse Compact", 0x256F, 0xC635),
    SpaceMouseModel("SpaceMouse Module", 0x256F, 0xC636),
    SpaceMouseModel("SpaceMouse Wireless BT", 0x256F, 0xC63A),
    SpaceMouseModel("3Dconnexion Universal Receiver", 0x256F, 0xC652),
)


class SpaceMouseState:
    """Deflection and buttons, kept up with every report."""

    def __init__(self) -> None:
        self._axes = np.zeros(6)
        self.buttons = 0
        """Bit field."""

    @property
    def deflection(self) -> Float[np.ndarray, "6"]:
        """-1..1 along and about x right, y away, z up."""
        return _FROM_MOUSE * self._axes / FULL_DEFLECTION

    def take(self, report: Sequence[int]) -> None:
        """One report, its number first; unknown and truncated ones mean nothing."""
        if not report:
            return
        number, data = report[0], bytes(report[1:])
        if number == _TRANSLATION and len(data) >= 12:
            self._axes[:] = struct.unpack_from("<6h", data)
        elif number == _TRANSLATION and len(data) >= 6:
            self._axes[:3] = struct.unpack_from("<3h", data)
        elif number == _ROTATION and len(data) >= 6:
            self._axes[3:] = struct.unpack_from("<3h", data)
        elif number == _BUTTONS and data:
            self.buttons = int.from_bytes(data[:4], "little")

    def holds(self, button: int | None) -> bool:
        """Whether the button of this bit is held."""
        return button is not None and bool(self.buttons >> button & 1)
