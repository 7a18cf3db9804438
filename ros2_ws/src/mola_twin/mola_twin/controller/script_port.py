"""Port 30003: the script interface. Takes programs; does not stream states, which the clients here do not read."""

import logging

from mola_twin.controller.commands import COMMANDS
from mola_twin.controller.connection import Connection
from mola_twin.controller.program import ControlProgram
from mola_twin.controller.robot import Program, Robot
from mola_twin.controller.script import ControlScript, UnsupportedScriptError, cut_script, parse_script
from mola_twin.controller.statements import StatementProgram

log = logging.getLogger(__name__)

PORT = 30003
_MAX_SCRIPT = 1 << 20


class ScriptSession:
    """One client of the script port."""

    def __init__(self, connection: Connection, *, robot: Robot) -> None:
        self._connection = connection
        self._robot = robot
        self._buffer = ""

    def received(self, data: bytes) -> None:
        self._buffer += data.decode("utf-8", errors="replace")
        while self._buffer:
            script, self._buffer = cut_script(self._buffer)
            if not script:
                break
            if script.strip():
                self._run(script)
        if len(self._buffer) > _MAX_SCRIPT:
            log.warning("script port: client dropped, no end of its script within %d bytes", _MAX_SCRIPT)
            self._connection.alive = False

    def tick(self) -> None:
        """Nothing is sent."""

    def closed(self) -> None:
        """A program outlives the connection that brought it."""

    def _run(self, text: str) -> None:
        if not self._robot.remote_control:
            log.warning("script ignored: the robot is in local control")
            return
        try:
            program = self._program(text)
        except UnsupportedScriptError as error:
            self._robot.popup = str(error)
            log.warning("popup: %s", error)
            return
        self._robot.start_program(program)

    def _program(self, text: str) -> Program:
        script = parse_script(text)
        if isinstance(script, ControlScript):
            return ControlProgram(robot=self._robot, commands=COMMANDS, offset=script.register_offset, path=script.path)
        return StatementProgram(name=script.name, robot=self._robot, statements=script.statements)
