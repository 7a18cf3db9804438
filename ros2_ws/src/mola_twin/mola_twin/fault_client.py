"""Injects faults into a running twin and reads its own record of the arm, for tests and for the table of faults."""

import base64
import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from mola_core.contracts.errors import ConfigError, DeviceError
from mola_core.contracts.types import SafetyMode

PORT = 30152
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class TwinTrace:
    """The controller's 500 Hz record, in order of time."""

    time_s: Float[np.ndarray, "rows"]
    """The controller's clock, as in RTDE ``timestamp``."""
    stamps_ns: Int[np.ndarray, "rows"]
    """Epoch."""
    joint_positions: Float[np.ndarray, "rows 6"]
    """rad."""
    joint_velocities: Float[np.ndarray, "rows 6"]
    """rad/s."""
    program_running: Bool[np.ndarray, "rows"]
    safety_modes: Int[np.ndarray, "rows"]
    """:class:`SafetyMode` values."""


@dataclass(frozen=True, slots=True)
class TwinStatus:
    """What the controller says of itself; see ``status`` in :mod:`mola_twin.controller.faults` for all fields."""

    robot_mode: str
    safety_mode: SafetyMode
    runtime_state: str
    program: str | None
    popup: str | None
    joint_positions: list[float]
    joint_velocities: list[float]
    clients: dict[str, int]
    """Connected clients by port name."""
    faults: list[str]
    """Faults in force."""
    raw: dict[str, Any]
    """The whole answer."""


class FaultClient:
    """A connection to the fault channel. Not thread-safe.

    Raises:
        DeviceError: no twin answers on the host.
        ConfigError: the twin refuses a request; its reason names what it knows.
    """

    def __init__(self, host: str, *, port: int = PORT) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect; every other method does so by itself."""
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, timeout=_TIMEOUT_S)
            except OSError as error:
                raise self._unreachable(error) from error

    def close(self) -> None:
        """Disconnect; faults stay in force."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    # -- faults --------------------------------------------------------------------------------------------------------

    def protective_stop(self, *, reason: str = "injected") -> None:
        """Stop as after a collision; unlocked through the dashboard, five seconds later at the earliest."""
        self._fault("protective_stop", reason=reason)

    def emergency_stop(self, *, on: bool = True) -> None:
        """Press the button, or turn it back."""
        self._fault("emergency_stop", on=on)

    def safeguard_stop(self, *, on: bool = True) -> None:
        """Open or close the safeguard input."""
        self._fault("safeguard_stop", on=on)

    def drop_link(self, *, refuse_s: float = 0.0) -> None:
        """Close every client's socket and refuse new ones for ``refuse_s`` seconds."""
        self._fault("link_drop", refuse_s=refuse_s)

    def silent_link(self, *, on: bool = True) -> None:
        """Sockets stay open, nothing is read or sent."""
        self._fault("silent_link", on=on)

    def slow_link(self, *, on: bool = True, delay_ms: float = 20.0, jitter_ms: float = 0.0) -> None:
        """Hold every byte back, in both directions."""
        self._fault("slow_link", on=on, delay_ms=delay_ms, jitter_ms=jitter_ms)

    def local_mode(self, *, on: bool = True) -> None:
        """Take the robot out of remote control."""
        self._fault("local_mode", on=on)

    def drop_camera(self, camera: str, *, on: bool = True) -> None:
        """``third_person`` or ``wrist`` delivers nothing."""
        self._fault("camera_drop", on=on, camera=camera)

    def gripper_stuck(self, *, on: bool = True) -> None:
        """The fingers do not move."""
        self._fault("gripper_stuck", on=on)

    def power_off(self) -> None:
        """Switch the arm off."""
        self._fault("power_off")

    def push(self, torques: list[float], *, seconds: float) -> None:
        """A hand pushes the joints (N m); felt in freedrive."""
        self._fault("hand", torques=torques, seconds=seconds)

    # -- observation ---------------------------------------------------------------------------------------------------

    def status(self) -> TwinStatus:
        """The controller's state now."""
        raw = self._request({"op": "status"})
        return TwinStatus(
            robot_mode=raw["robot_mode"],
            safety_mode=SafetyMode[raw["safety_mode"]],
            runtime_state=raw["runtime_state"],
            program=raw["program"],
            popup=raw["popup"],
            joint_positions=raw["joint_positions"],
            joint_velocities=raw["joint_velocities"],
            clients=raw["clients"],
            faults=raw["faults"],
            raw=raw,
        )

    def trace(self, seconds: float) -> TwinTrace:
        """The last ``seconds`` (at most 60) of the controller's record."""
        from mola_twin.controller.trace import unpack_trace  # noqa: PLC0415  # the client alone needs no controller

        rows = unpack_trace(base64.b64decode(self._request({"op": "trace", "seconds": seconds})["rows"]))
        return TwinTrace(
            time_s=rows["time_s"],
            stamps_ns=rows["stamp_ns"],
            joint_positions=rows["joint_positions"],
            joint_velocities=rows["joint_velocities"],
            program_running=rows["program_running"].astype(bool),
            safety_modes=rows["safety_mode"].astype(int),
        )

    def _fault(self, name: str, *, on: bool = True, **fields: Any) -> None:
        self._request({"op": "fault", "name": name, "on": on, **fields})

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        self.connect()
        assert self._socket is not None  # noqa: S101  # connect() raised otherwise
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            reply: dict[str, Any] = json.loads(self._read_line(self._socket))
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        if not reply.pop("ok"):
            raise ConfigError(f"the twin refuses: {reply['error']}")
        return reply

    def _read_line(self, sock: socket.socket) -> bytes:
        while b"\n" not in self._buffer:
            data = sock.recv(1 << 20)
            if not data:
                raise ConnectionResetError("the twin closed the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _unreachable(self, error: OSError) -> DeviceError:
        host, port = self._address
        return DeviceError(f"no twin answers on {host}:{port} ({error}); start one: mola twin serve --host {host}")
