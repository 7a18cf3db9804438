"""Port 63352: the socket of Robotiq's URCap. ``SET POS 128 GTO 1`` is answered ``ack``, ``GET POS`` ``POS 128``."""

import logging
from collections.abc import Callable

from mola_twin.controller.connection import Connection
from mola_twin.controller.gripper import COUNTS, Gripper

log = logging.getLogger(__name__)

PORT = 63352
_MAX_LINE = 1 << 12

_READ: dict[str, Callable[[Gripper], int]] = {
    "ACT": lambda gripper: int(gripper.activated),
    "GTO": lambda gripper: int(gripper.go_to),
    "ATR": lambda gripper: int(gripper.auto_release),
    "FOR": lambda gripper: gripper.force,
    "SPE": lambda gripper: gripper.speed,
    "POS": lambda gripper: gripper.position,
    "PRE": lambda gripper: gripper.position_request,
    "STA": lambda gripper: gripper.status,
    "OBJ": lambda gripper: gripper.object_status,
    "FLT": lambda gripper: gripper.fault,
}


def _set(gripper: Gripper, name: str, value: int) -> None:
    match name:
        case "ACT":
            gripper.activate(on=bool(value))
        case "GTO":
            gripper.go_to = bool(value)
        case "ATR":
            gripper.auto_release = bool(value)
        case "FOR":
            gripper.force = value
        case "SPE":
            gripper.speed = value
        case "POS":
            gripper.request(value)


_WRITABLE = frozenset({"ACT", "GTO", "ATR", "FOR", "SPE", "POS"})


def answer(gripper: Gripper, line: str) -> bytes:
    """The answer to one request; ``?`` to one that is not understood. Only answers to GET end in a newline."""
    words = line.upper().split()
    if words[:1] == ["GET"] and len(words) == 2 and words[1] in _READ:
        # without tool power the URCap has nobody to ask
        value = str(_READ[words[1]](gripper)) if gripper.powered else "?"
        return f"{words[1]} {value}\n".encode()
    pairs = list(zip(words[1::2], words[2::2], strict=False))
    complete = words[:1] == ["SET"] and bool(pairs) and len(words) == 1 + 2 * len(pairs)
    if complete and all(name in _WRITABLE and value.isdigit() and int(value) <= COUNTS for name, value in pairs):
        if gripper.powered:
            for name, value in pairs:
                _set(gripper, name, int(value))
        return b"ack"
    log.warning("gripper: not understood: %r", line[:80])
    return b"?"


class RobotiqSession:
    """One client of the gripper."""

    def __init__(self, connection: Connection, *, gripper: Gripper) -> None:
        self._connection = connection
        self._gripper = gripper
        self._buffer = b""

    def received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        answers = [answer(self._gripper, raw.decode("ascii", errors="replace")) for raw in lines if raw.strip()]
        if answers:
            self._connection.send(b"".join(answers))
        if len(self._buffer) > _MAX_LINE:
            self._connection.alive = False

    def tick(self) -> None:
        """Speaks only when spoken to."""

    def closed(self) -> None:
        """Holds nothing."""
