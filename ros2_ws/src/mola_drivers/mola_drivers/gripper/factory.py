"""From the site file's words to a gripper."""

from mola_core.contracts.clock import Clock
from mola_core.contracts.site import DigitalGripperSpec, GripperSpec, RobotiqGripperSpec
from mola_drivers.gripper.digital import DigitalGripper
from mola_drivers.gripper.no_gripper import NoGripper
from mola_drivers.gripper.protocol import Gripper
from mola_drivers.gripper.robotiq import RobotiqGripper


def make_gripper(*, spec: GripperSpec, clock: Clock) -> Gripper:
    """A disconnected gripper for ``spec``; touches nothing."""
    if isinstance(spec, RobotiqGripperSpec):
        return RobotiqGripper(spec=spec, clock=clock)
    if isinstance(spec, DigitalGripperSpec):
        return DigitalGripper(spec=spec, clock=clock)
    return NoGripper()
