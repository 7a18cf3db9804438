"""How a person wants to teleoperate."""

from dataclasses import dataclass
from enum import Enum

from mola_core.contracts.teleop import TwistFrame


class EngageMode(Enum):
    """What the device's switch means."""

    DEADMAN = "deadman"
    """Engaged while it is held."""
    CLUTCH = "clutch"
    """Each press engages or lets go."""


@dataclass(frozen=True, slots=True)
class TeleopSettings:
    """Chosen at start; frame and speed scale may be changed on the way."""

    engage: EngageMode = EngageMode.DEADMAN
    frame: TwistFrame = TwistFrame.BASE
    """In which the axes of sticks and keys are meant."""
    view: str = "third_person"
    """Camera of :attr:`TwistFrame.VIEW`."""
    speed_scale: float = 1.0
    """0.1..1 of the device's full deflection."""
    stop_within_s: float = 0.15
    """From letting go to rest: no faster motion is let through than the site's limits can stop in this time."""
    leader_gate_rad: float = 0.15
    """A leader engages only while no joint is further than this from where the arm is commanded to be."""
    device_timeout_s: float = 0.1
    """A device that was last read longer ago counts as lost."""


FRAMES = (TwistFrame.BASE, TwistFrame.TCP, TwistFrame.VIEW)
"""What may be chosen, in the order of the device's button."""
FRAME_NAMES = {"base": TwistFrame.BASE, "tool": TwistFrame.TCP, "camera": TwistFrame.VIEW}
"""What people call them."""
SLOWEST, FASTEST, SPEED_STEP = 0.1, 1.0, 1.25


def frame_name(frame: TwistFrame) -> str:
    """What people call it."""
    return next(name for name, known in FRAME_NAMES.items() if known is frame)
