"""The one place that touches ur_rtde: typed, no reconnecting, no destructors.

The library's objects are never destroyed: their destructors sleep half a second with the GIL held, and on a dead link may
hang or crash. A process connects once or twice in its life; what it leaks is small.
"""

# ruff: noqa: N802 (the names are the library's)

import ctypes
import importlib
from typing import Any, Protocol

from mola_core.contracts.errors import ArmError

_RUNTIME_PLAYING = 2
_VARIABLES = [
    "timestamp",
    "actual_q",
    "actual_qd",
    "actual_TCP_pose",
    "robot_mode",
    "safety_mode",
    "speed_scaling",
    "target_speed_fraction",
    "runtime_state",
]


class ControlLink(Protocol):
    """The part of ``rtde_control.RTDEControlInterface`` that is used; methods release the GIL."""

    def isConnected(self) -> bool: ...
    def servoJ(self, q: list[float], v: float, a: float, t: float, lookahead: float, gain: float, /) -> bool: ...
    def servoStop(self, a: float, /) -> bool: ...
    def kickWatchdog(self) -> bool: ...
    def setWatchdog(self, min_frequency: float, /) -> bool: ...
    def setTcp(self, tcp_offset: list[float], /) -> bool: ...
    def setPayload(self, mass: float, cog: list[float], /) -> bool: ...
    def freedriveMode(self) -> bool: ...
    def endFreedriveMode(self) -> bool: ...
    def isProgramRunning(self) -> bool: ...
    def reuploadScript(self) -> bool: ...
    def stopScript(self) -> None: ...
    def disconnect(self) -> None: ...


class ReceiveLink(Protocol):
    """The part of ``rtde_receive.RTDEReceiveInterface`` that is used. Getters return the last value, however old."""

    def isConnected(self) -> bool: ...
    def getTimestamp(self) -> float: ...
    def getActualQ(self) -> list[float]: ...
    def getActualQd(self) -> list[float]: ...
    def getActualTCPPose(self) -> list[float]: ...
    def getRobotMode(self) -> int: ...
    def getSafetyMode(self) -> int: ...
    def getSpeedScaling(self) -> float: ...
    def getTargetSpeedFraction(self) -> float: ...
    def getRuntimeState(self) -> int: ...
    def getActualDigitalOutputBits(self) -> int: ...
    def disconnect(self) -> None: ...


class IoLink(Protocol):
    """The part of ``rtde_io.RTDEIOInterface`` that is used."""

    def setStandardDigitalOut(self, output_id: int, signal_level: bool, /) -> bool: ...
    def isConnected(self) -> bool: ...
    def disconnect(self) -> None: ...


def open_control(*, host: str, frequency_hz: float) -> ControlLink:
    """Connect, upload the library's program and wait until it runs (up to 5 s). Holds the GIL all the while.

    Raises:
        ArmError: the library says no.
    """
    module = _module("rtde_control")
    interface = module.RTDEControlInterface
    flags = int(interface.FLAG_UPLOAD_SCRIPT) | int(interface.FLAG_NO_EXT_FT)
    try:
        link: ControlLink = _immortal(interface(host, frequency_hz, flags))
    except (RuntimeError, ValueError) as error:
        raise ArmError(f"the servo program does not start on {host}: {_one_line(error)}") from error
    return link


def open_receive(*, host: str, frequency_hz: float, variables: list[str] | None = None) -> ReceiveLink:
    """Connect and wait for the first data package. Holds the GIL all the while.

    Raises:
        ArmError: the library says no.
    """
    module = _module("rtde_receive")
    try:
        link: ReceiveLink = _immortal(module.RTDEReceiveInterface(host, frequency_hz, variables or _VARIABLES))
    except (RuntimeError, ValueError) as error:
        raise ArmError(f"{host} sends no RTDE data: {_one_line(error)}") from error
    return link


def open_io(*, host: str) -> IoLink:
    """Connect for digital outputs (0.1 s with the GIL held).

    Raises:
        ArmError: the library says no, for one because another client owns the outputs.
    """
    module = _module("rtde_io")
    try:
        link: IoLink = _immortal(module.RTDEIOInterface(host))
    except (RuntimeError, ValueError) as error:
        raise ArmError(f"the digital outputs of {host} cannot be used: {_one_line(error)}") from error
    return link


def is_playing(runtime_state: int) -> bool:
    """RTDE ``runtime_state`` says that a program runs."""
    return runtime_state == _RUNTIME_PLAYING


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ArmError(f"ur_rtde does not load ({error}); install it: pip install ur-rtde==1.6.5") from error


def _immortal(link: Any) -> Any:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(link))
    return link


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
