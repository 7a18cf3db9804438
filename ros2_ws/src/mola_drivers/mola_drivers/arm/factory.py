"""From the site file's words to an arm."""

from mola_core.contracts.clock import Clock
from mola_core.contracts.site import ArmSpec
from mola_drivers.arm.protocol import Arm
from mola_drivers.arm.ur5e import Ur5e


def make_arm(*, spec: ArmSpec, clock: Clock) -> Arm:
    """A disconnected arm for ``spec``; touches nothing. The twin's arm is a UR5e like any other."""
    return Ur5e(spec=spec, clock=clock)
