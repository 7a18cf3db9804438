"""Port 29999: the dashboard server, one command a line, one line back.

Commands and answers as in Universal Robots' "Dashboard Server e-Series, port 29999".
"""

import logging
from collections.abc import Callable

from mola_core.contracts.types import RobotMode, SafetyMode
from mola_twin.controller.connection import Connection
from mola_twin.controller.robot import Robot, RuntimeState
from mola_twin.controller.rtde_server import POLYSCOPE_VERSION

log = logging.getLogger(__name__)

PORT = 29999
SERIAL_NUMBER = "20215500001"
_GREETING = "Connected: Universal Robots Dashboard Server"
_MAX_LINE = 1 << 16

Answer = Callable[[Robot, str], str]
"""From the robot and the command's argument to the answer."""


def _program_state(robot: Robot) -> str:
    return {RuntimeState.PLAYING: "PLAYING", RuntimeState.PAUSED: "PAUSED"}.get(robot.runtime_state, "STOPPED")


def _program_name(robot: Robot) -> str:
    return robot.program.name if robot.program is not None else "<unnamed>"


def _stop(robot: Robot, _: str) -> str:
    robot.stop_program("the dashboard said so")
    return "Stopped"


def _power_on(robot: Robot, _: str) -> str:
    robot.power_on()
    return "Powering on"


def _power_off(robot: Robot, _: str) -> str:
    robot.power_off()
    return "Powering off"


def _brake_release(robot: Robot, _: str) -> str:
    robot.release_brakes()
    return "Brake releasing"


def _popup(robot: Robot, text: str) -> str:
    robot.popup = text
    return "showing popup"


def _close_popup(robot: Robot, _: str) -> str:
    robot.popup = None
    return "closing popup"


def _close_safety_popup(robot: Robot, _: str) -> str:
    robot.safety_popup = None
    return "closing safety popup"


def _log(_: Robot, text: str) -> str:
    log.info("dashboard: %s", text)
    return "Added log message"


def _safety(robot: Robot) -> str:
    return SafetyMode(robot.safety_mode).name


_REMOTE: dict[str, Answer] = {
    "load": lambda _, text: f"File not found: {text}",
    "load installation": lambda _, text: f"File not found: {text}",
    "play": lambda robot, _: "Starting program" if robot.play() else "Failed to execute: play",
    "stop": _stop,
    "pause": lambda robot, _: "Pausing program" if robot.pause_program() else "Failed to execute: pause",
    "power on": _power_on,
    "power off": _power_off,
    "brake release": _brake_release,
    "unlock protective stop": lambda robot, _: robot.unlock_protective_stop(),
    "close safety popup": _close_safety_popup,
    "popup": _popup,
    "close popup": _close_popup,
    "set operational mode": lambda _, text: f'Setting operational mode: "{text}"',
    "clear operational mode": lambda *_: "operational mode is no longer controlled by Dashboard Server",
}
"""Refused while the robot is in local control."""

_ALWAYS: dict[str, Answer] = {
    "running": lambda robot, _: f"Program running: {str(robot.program_running).lower()}",
    "robotmode": lambda robot, _: f"Robotmode: {RobotMode(robot.robot_mode).name}",
    "get loaded program": lambda *_: "No program loaded",
    "addtolog": _log,
    "isprogramsaved": lambda *_: "true <unnamed>",
    "programstate": lambda robot, _: f"{_program_state(robot)} {_program_name(robot)}",
    "polyscopeversion": lambda *_: f"URSoftware {'.'.join(map(str, POLYSCOPE_VERSION))} (twin)",
    "version": lambda *_: ".".join(map(str, POLYSCOPE_VERSION)),
    "setuserrole": lambda _, text: f"Setting user role: {text}",
    "safetymode": lambda robot, _: f"Safetymode: {_safety(robot)}",
    "safetystatus": lambda robot, _: f"Safetystatus: {_safety(robot)}",
    "is in remote control": lambda robot, _: str(robot.remote_control).lower(),
    "get serial number": lambda *_: SERIAL_NUMBER,
    "get robot model": lambda *_: "UR5",
    "get operational mode": lambda robot, _: "AUTOMATIC" if robot.remote_control else "MANUAL",
}

_BY_LENGTH = sorted((*_REMOTE, *_ALWAYS), key=len, reverse=True)
"""Longest first, so that "load installation" is not taken for "load"."""
_GOODBYES = {"quit": "Disconnected", "shutdown": "Shutting down"}

DASHBOARD_COMMANDS = sorted((*_REMOTE, *_ALWAYS, *_GOODBYES))
"""Every command understood, in lower case; their case does not matter."""


def answer(robot: Robot, line: str) -> str:
    """The dashboard's answer to one line."""
    lowered = line.lower()
    name = next((name for name in _BY_LENGTH if lowered == name or lowered.startswith(f"{name} ")), None)
    if name is None:
        log.warning("dashboard: not understood: %r", line[:80])
        return f'could not understand: "{line}"'
    argument = line[len(name) :].strip()
    if name in _REMOTE:
        if not robot.remote_control:
            log.warning("dashboard: %s refused in local control", name)
            return f"Failed to execute: {name} (the robot is in local control)"
        return _REMOTE[name](robot, argument)
    return _ALWAYS[name](robot, argument)


class DashboardSession:
    """One client of the dashboard."""

    def __init__(self, connection: Connection, *, robot: Robot) -> None:
        self._connection = connection
        self._robot = robot
        self._buffer = b""
        self._say(_GREETING)

    def received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", errors="replace").strip()
            if line.lower() in _GOODBYES:
                self._say(_GOODBYES[line.lower()])
                self._connection.wants_close = True
                if line.lower() == "shutdown":
                    # ends the arm's day, not this process, which belongs to whoever started it
                    self._robot.power_off()
            elif line:
                self._say(answer(self._robot, line))
        if len(self._buffer) > _MAX_LINE:
            self._connection.alive = False

    def tick(self) -> None:
        """Speaks only when spoken to."""

    def closed(self) -> None:
        """Holds nothing."""

    def _say(self, text: str) -> None:
        self._connection.send(text.encode() + b"\n")
