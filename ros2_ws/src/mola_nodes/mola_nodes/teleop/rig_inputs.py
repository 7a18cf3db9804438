"""The newest that the graph says of the rig, as a teleoperation session wants it."""

from mola_interfaces.msg import CommandedState as CommandedStateMsg
from mola_interfaces.msg import RobotState as RobotStateMsg
from mola_interfaces.msg import ServoStatus

from mola_core.contracts.types import CommandedState
from mola_core.control.teleop.session import RigView
from mola_nodes.conversions.motion import commanded_from_message
from mola_nodes.conversions.wire import check_version

_TAKES_CHUNKS = (ServoStatus.HOLDING, ServoStatus.EXECUTING, ServoStatus.GUIDED, ServoStatus.SETTLING)


class RigInputs:
    """Written by the executor's thread, read by the device's."""

    def __init__(self) -> None:
        self._commanded: CommandedState | None = None
        self._opening: float | None = None
        self._problem = "the controller has not been heard"

    def note_commanded(self, message: CommandedStateMsg) -> None:
        """The servo has said what it commands."""
        self._commanded = commanded_from_message(message)

    def note_state(self, message: RobotStateMsg) -> None:
        """The arm has said where it is; only the gripper matters here."""
        check_version(message)
        self._opening = message.gripper_opening if message.has_gripper_opening else None

    def note_servo(self, message: ServoStatus) -> None:
        """The controller has reported."""
        check_version(message)
        engaged = message.state in _TAKES_CHUNKS
        self._problem = "" if engaged else f"the arm is stopped ({message.reason}); resume it"

    def view(self) -> RigView:
        """What is known now."""
        return RigView(commanded=self._commanded, servo_problem=self._problem, measured_opening=self._opening)
