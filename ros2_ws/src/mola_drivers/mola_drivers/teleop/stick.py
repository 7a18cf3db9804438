"""What all devices share whose deflection is a velocity: deadband, scale, and a gripper that a button opens and closes."""

import numpy as np
from jaxtyping import Float

from mola_core.contracts.teleop import Twist, TwistFrame
from mola_drivers.teleop.specs import StickSpec


def deflected_twist(deflection: Float[np.ndarray, "6"], *, spec: StickSpec) -> Twist:
    """Velocity for a deflection of -1..1 along and about x, y, z, in whichever axes the person has chosen."""
    bounded = np.clip(deflection, -1.0, 1.0)
    beyond = np.maximum(np.abs(bounded) - spec.deadband, 0.0) / (1.0 - spec.deadband)
    shaped = np.sign(bounded) * beyond
    speeds = np.repeat([spec.linear_speed, spec.angular_speed], 3)
    return Twist(velocity=shaped * speeds, frame=TwistFrame.CHOSEN)


class GripperButton:
    """Each press turns it the other way; the first one closes."""

    def __init__(self) -> None:
        self.opening: float | None = None
        """None before the first press: leave the gripper as it is."""
        self._held = False

    def update(self, *, held: bool) -> None:
        """Take one reading of the button."""
        if held and not self._held:
            self.toggle()
        self._held = held

    def toggle(self) -> None:
        """One press."""
        self.opening = 1.0 if self.opening == 0.0 else 0.0
