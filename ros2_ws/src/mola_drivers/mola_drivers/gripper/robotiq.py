"""Robotiq 2F through the socket that its URCap opens on the controller (port 63352).

ASCII, one request at a time: ``SET POS 128 GTO 1`` is answered ``ack``, ``GET POS`` is answered ``POS 128``. Registers as in
the manual of the 2F-85/140: ACT activate, STA 3 = active, GTO go, POS 0 open..255 closed, SPE, FOR, OBJ, FLT.
"""

import socket

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import GripperError
from mola_core.contracts.site import RobotiqGripperSpec
from mola_drivers.gripper.protocol import GripperState, GripperTarget
from mola_drivers.gripper.threaded import ThreadedGripper

_FULL = 255
_CONNECT_S = 2.0
_ANSWER_S = 1.0
_ACTIVATION_NS = 10 * NS_PER_S
_POLL_NS = 50 * NS_PER_MS
_MAX_LINE_BYTES = 256
_ACTIVE = 3
_MOVING, _BLOCKED = 0, (1, 2)
_FAULTS = {
    5: "action delayed until it is activated",
    7: "it is not activated",
    8: "it is too hot",
    9: "it has had no contact with its controller for a second",
    10: "its supply voltage is too low",
    11: "automatic release in progress",
    12: "internal fault",
    13: "activation failed; check that nothing blocks the fingers",
    14: "overcurrent",
    15: "automatic release completed",
}


class RobotiqDevice:
    """The socket and its registers."""

    def __init__(self, *, spec: RobotiqGripperSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._socket: socket.socket | None = None

    def connect(self, *, activate: bool) -> None:
        self.close()
        address = (self._spec.host, self._spec.port)
        try:
            self._socket = socket.create_connection(address, timeout=_CONNECT_S)
        except OSError as error:
            raise GripperError(
                f"gripper at {self._name} does not answer ({error}); is its URCap installed and the arm on?"
            ) from error
        self._socket.settimeout(_ANSWER_S)
        if self._get("STA") == _ACTIVE:
            return
        if not activate:
            raise GripperError(f"gripper at {self._name} has lost its activation; resume to activate it again")
        self._activate()

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def command(self, target: GripperTarget) -> None:
        position = round((1.0 - target.opening) * _FULL)
        self._set(f"POS {position} SPE {round(target.speed * _FULL)} FOR {round(target.force * _FULL)} GTO 1")

    def poll(self) -> GripperState:
        if self._get("STA") != _ACTIVE:
            raise GripperError(f"gripper at {self._name} has lost its activation; resume to activate it again")
        opening = 1.0 - self._get("POS") / _FULL
        object_status = self._get("OBJ")
        fault = self._get("FLT")
        return GripperState(
            opening=opening,
            moving=object_status == _MOVING,
            blocked=object_status in _BLOCKED,
            fault=GripperError(f"gripper fault {fault}: {_FAULTS.get(fault, 'see its manual')}") if fault else None,
            stamp_ns=self._clock.now_ns(),
        )

    @property
    def _name(self) -> str:
        return f"{self._spec.host}:{self._spec.port}"

    def _activate(self) -> None:
        self._set("ACT 0")
        self._wait_for("STA", 0)
        self._set("ACT 1")
        self._wait_for("STA", _ACTIVE)

    def _wait_for(self, register: str, value: int) -> None:
        deadline_ns = self._clock.monotonic_ns() + _ACTIVATION_NS
        while (got := self._get(register)) != value:
            if self._clock.monotonic_ns() > deadline_ns:
                raise GripperError(
                    f"gripper at {self._name} does not activate ({register} {got}); check that nothing blocks it"
                )
            self._clock.sleep_until(self._clock.monotonic_ns() + _POLL_NS)

    def _set(self, assignment: str) -> None:
        answer = self._ask(f"SET {assignment}")
        if answer != "ack":
            raise GripperError(f"gripper at {self._name} answers {answer!r} to SET {assignment}")

    def _get(self, register: str) -> int:
        answer = self._ask(f"GET {register}")
        name, _, value = answer.partition(" ")
        if name != register or not value.isdigit():
            raise GripperError(f"gripper at {self._name} answers {answer!r} to GET {register}")
        return int(value)

    def _ask(self, request: str) -> str:
        if self._socket is None:
            raise GripperError(f"gripper at {self._name} is not connected")
        line = bytearray()
        try:
            self._socket.sendall(request.encode() + b"\n")
            while not line.endswith(b"\n") and line != b"ack" and len(line) < _MAX_LINE_BYTES:
                received = self._socket.recv(_MAX_LINE_BYTES)
                if not received:
                    raise ConnectionError("it closed the connection")
                line += received
        except OSError as error:
            raise GripperError(f"gripper at {self._name} does not answer {request!r} ({error})") from error
        return line.decode(errors="replace").strip()


class RobotiqGripper(ThreadedGripper):
    """A Robotiq 2F behind :class:`mola_drivers.gripper.protocol.Gripper`."""

    def __init__(self, *, spec: RobotiqGripperSpec, clock: Clock) -> None:
        device = RobotiqDevice(spec=spec, clock=clock)
        super().__init__(device=device, rate_hz=spec.rate_hz, speed=spec.speed, force=spec.force, clock=clock)
