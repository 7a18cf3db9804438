"""The controller's own 500 Hz record of the arm, kept for the last minute, independent of any client."""

import struct

import numpy as np

from mola_twin.controller.robot import TICK_S, Robot

TRACE_DTYPE = np.dtype(
    [
        ("time_s", "<f8"),  # the controller's clock, as in RTDE "timestamp"
        ("stamp_ns", "<i8"),  # epoch
        ("joint_positions", "<f8", (6,)),  # rad
        ("joint_velocities", "<f8", (6,)),  # rad/s
        ("program_running", "u1"),
        ("safety_mode", "u1"),
    ]
)
_ROW = struct.Struct("<dq12dBB")
CAPACITY_S = 60.0
_CAPACITY = round(CAPACITY_S / TICK_S)


class Trace:
    """Ring of packed rows."""

    def __init__(self) -> None:
        self._buffer = bytearray(_ROW.size * _CAPACITY)
        self._count = 0

    def append(self, robot: Robot, *, now_ns: int) -> None:
        """Record this tick."""
        joints = robot.joints
        _ROW.pack_into(
            self._buffer,
            self._count % _CAPACITY * _ROW.size,
            robot.time_s,
            now_ns,
            *joints.positions,
            *joints.velocities,
            robot.program_running,
            robot.safety_mode,
        )
        self._count += 1

    def last(self, seconds: float) -> bytes:
        """The newest rows, oldest first, packed as :data:`TRACE_DTYPE`."""
        wanted = min(round(min(seconds, CAPACITY_S) / TICK_S), self._count, _CAPACITY)
        end = self._count % _CAPACITY
        start = end - wanted
        if start >= 0:
            return bytes(self._buffer[start * _ROW.size : end * _ROW.size])
        return bytes(self._buffer[start * _ROW.size :] + self._buffer[: end * _ROW.size])


def unpack_trace(data: bytes) -> np.ndarray:
    """Rows of :data:`TRACE_DTYPE` from what :meth:`Trace.last` gave."""
    return np.frombuffer(data, dtype=TRACE_DTYPE)
