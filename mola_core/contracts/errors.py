"""Errors that a user can act on.

Every error names the offending value and the cure. The command line prints them as one line and exits with
``exit_code``; a traceback is reserved for our own bugs.
"""


class MolaError(Exception):
    """Base of all errors caused by input, configuration or hardware rather than by a bug."""

    exit_code = 1


class ConfigError(MolaError):
    """A parameter, site file or launch file says something that cannot be meant."""

    exit_code = 2


class DeviceError(MolaError):
    """A device is absent, refuses, or stopped answering."""

    exit_code = 3


class CameraError(DeviceError):
    """A camera is absent, delivers nothing in time, or has been lost."""


class ArmError(DeviceError):
    """The arm refuses to move: not reachable, local mode, safety stop, dead link."""


class GripperError(DeviceError):
    """The gripper does not answer, is not activated, or is stuck."""


class TeleopError(DeviceError):
    """A teleoperation device is absent or has been lost."""


class ChunkRejectedError(MolaError):
    """An action chunk is malformed, stale or unreachable; the arm keeps doing what it did before."""


class UnreachablePoseError(ChunkRejectedError):
    """No joint solution puts the TCP at the requested pose within the joint limits."""


class UnsupportedError(MolaError):
    """The request is understood, but this implementation deliberately does not serve it."""
