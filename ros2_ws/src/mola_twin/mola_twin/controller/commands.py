"""The table of commands, which is also the list of what the twin covers: ``mola twin commands`` prints it."""

from mola_twin.controller.command import Command
from mola_twin.controller.motion_commands import MOTION_COMMANDS
from mola_twin.controller.state_commands import STATE_COMMANDS

_FORCE = "contact forces are not modelled in the controller"
_DYNAMICS = "masses and motor torques are not modelled"
_VERSION = "needs PolyScope 5.23, the twin is 5.21"


_UNSUPPORTED = (
    Command(6, "FORCE_MODE", "forceMode", None, every_cycle=True, note=_FORCE),
    Command(7, "FORCE_MODE_STOP", "forceModeStop", None, note=_FORCE),
    Command(12, "SERVOC", "servoC", None, note="broken in the client: the second call has no effect"),
    Command(20, "FORCE_MODE_SET_DAMPING", "forceModeSetDamping", None, note=_FORCE),
    Command(21, "FORCE_MODE_SET_GAIN_SCALING", "forceModeSetGainScaling", None, note=_FORCE),
    Command(25, "TOOL_CONTACT", "toolContact", None, every_cycle=True, note=_FORCE),
    Command(38, "GET_JOINT_TORQUES", "getJointTorques", None, every_cycle=True, note=_DYNAMICS),
    Command(51, "MOVE_UNTIL_CONTACT", "moveUntilContact", None, note=_FORCE),
    Command(55, "SET_EXTERNAL_FORCE_TORQUE", "setExternalForceTorque", None, note="broken in the client"),
    Command(56, "FT_RTDE_INPUT_ENABLE", "ftRtdeInputEnable", None, note=_FORCE),
    Command(57, "ENABLE_EXTERNAL_FT_SENSOR", "enableExternalFtSensor", None, note=_FORCE),
    Command(62, "START_CONTACT_DETECTION", "startContactDetection", None, note=_FORCE),
    Command(63, "STOP_CONTACT_DETECTION", "stopContactDetection", None, note=_FORCE),
    Command(64, "READ_CONTACT_DETECTION", "readContactDetection", None, note=_FORCE),
    Command(66, "DIRECT_TORQUE", "directTorque", None, every_cycle=True, note=_VERSION),
    Command(67, "GET_MASS_MATRIX", "getMassMatrix", None, every_cycle=True, note=_VERSION),
    Command(
        68,
        "GET_CORIOLIS_AND_CENTRIFUGAL_TORQUES",
        "getCoriolisAndCentrifugalTorques",
        None,
        every_cycle=True,
        note=_VERSION,
    ),
    Command(69, "GET_TARGET_JOINT_ACCELERATIONS", "getTargetJointAccelerations", None, every_cycle=True, note=_VERSION),
    Command(70, "GET_JACOBIAN", "getJacobian", None, every_cycle=True, note=_VERSION),
    Command(71, "GET_JACOBIAN_TIME_DERIVATIVE", "getJacobianTimeDerivative", None, every_cycle=True, note=_VERSION),
)

COMMANDS = {
    command.number: command
    for command in sorted((*MOTION_COMMANDS, *STATE_COMMANDS, *_UNSUPPORTED), key=lambda command: command.number)
}
"""Every command of the script by number, served or not. 0 (none) and 255 (end) are the main loop's own."""
