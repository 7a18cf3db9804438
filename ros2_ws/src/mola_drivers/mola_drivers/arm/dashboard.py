"""The controller's dashboard server: a line of text each way (UR dashboard server manual, e-Series).

Spoken over a plain socket rather than through the library's client: every wait here is bounded and holds no GIL.
"""

import socket
from types import TracebackType
from typing import Self, TypeVar

from mola_core.contracts.errors import ArmError
from mola_core.contracts.types import RobotMode, SafetyMode
from mola_drivers.arm.ports import DASHBOARD_PORT, connect

_TIMEOUT_S = 2.0
_MAX_LINE_BYTES = 4096

ModeT = TypeVar("ModeT", RobotMode, SafetyMode)


class Dashboard:
    """One connection to the dashboard server; ``with dashboard:`` connects."""

    def __init__(self, *, host: str) -> None:
        self._host = host
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._socket = connect(host=self._host, port=DASHBOARD_PORT)
        self._socket.settimeout(_TIMEOUT_S)
        try:
            self._read_line()  # the greeting
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, command: str) -> str:
        """The controller's answer to ``command``.

        Raises:
            ArmError: no answer in time.
        """
        try:
            self._connected().sendall(command.encode() + b"\n")
        except OSError as error:
            raise ArmError(f"the dashboard of {self._host} hung up ({error}); restart the controller") from error
        return self._read_line()

    def in_remote_control(self) -> bool:
        """The pendant has handed control over to the network."""
        return self.ask("is in remote control").lower() == "true"

    def robot_mode(self) -> RobotMode:
        """Raises ArmError for an answer that names none."""
        return self._named(RobotMode, self.ask("robotmode"))

    def safety_mode(self) -> SafetyMode:
        """Raises ArmError for an answer that names none."""
        return self._named(SafetyMode, self.ask("safetymode"))

    def _named(self, modes: type[ModeT], answer: str) -> ModeT:
        name = answer.partition(":")[2].strip()
        if name not in modes.__members__:
            raise ArmError(f"the controller at {self._host} is in an unknown state: {answer!r}; look at the pendant")
        return modes[name]

    def _read_line(self) -> str:
        line = bytearray()
        try:
            while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
                received = self._connected().recv(1)
                if not received:
                    raise ConnectionError("it closed the connection")
                line += received
        except OSError as error:
            raise ArmError(
                f"the dashboard of {self._host} does not answer ({error}); restart the controller"
            ) from error
        return line.decode(errors="replace").strip()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise ArmError(f"the dashboard of {self._host} is not connected")
        return self._socket
