"""A GELLO leader arm: Dynamixel servos with their torque off, read together over one serial port (protocol 2).

One synchronous read of seven servos takes some 20 ms at 57600 baud, so a thread of its own reads, and :meth:`read` gives the
newest. Addresses and units: Robotis, XL330 control table (present position at 132, 4 bytes, 4096 a turn).
"""

import threading
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import dynamixel_sdk
import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS, Clock, SystemClock
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.teleop import LeaderJoints, TeleopCommand
from mola_drivers.teleop.protocol import TeleopDevice
from mola_drivers.teleop.specs import GelloSpec

PROTOCOL = 2.0
POSITION_ADDRESS, POSITION_BYTES = 132, 4
RAD_PER_COUNT = 2.0 * np.pi / 4096
_LOST_NS = 150 * NS_PER_MS
_FIRST_READINGS = 5


@dataclass(frozen=True, slots=True)
class _Reading:
    stamp_ns: int
    positions: Float[np.ndarray, "servos"]
    """rad, of the servos."""


class GelloTeleop:
    """Behind :class:`mola_drivers.teleop.protocol.TeleopDevice`; the switch is another device's."""

    name = "gello"

    def __init__(self, spec: GelloSpec, *, switch: TeleopDevice, clock: Clock | None = None) -> None:
        self._spec = spec
        self._switch = switch
        self._clock = clock or SystemClock()
        self._ids = (*spec.joint_ids, *(() if spec.trigger_id is None else (spec.trigger_id,)))
        self._signs, self._offsets = np.array(spec.joint_signs), np.array(spec.joint_offsets)
        self._port: Any = None
        self._newest: _Reading | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        port = dynamixel_sdk.PortHandler(self._spec.port)
        try:
            port.openPort()
            port.setBaudRate(self._spec.baud_rate)
        except (OSError, ValueError) as error:  # pyserial's errors are OSErrors
            raise TeleopError(
                f"the GELLO's port {self._spec.port} does not open ({error}); is it plugged in, and are you in the group "
                "dialout?"
            ) from error
        self._port = port
        self._reader = self._sync_reader()
        try:
            self._newest = self._first_reading()
            self._switch.__enter__()
        except TeleopError:
            port.closePort()
            self._port = None
            raise
        self._ending.clear()
        self._thread = threading.Thread(target=self._read_on, name="GELLO", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._port is None:
            return
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._port.closePort()
        self._port = self._thread = None
        self._switch.__exit__(kind, error, trace)

    def read(self, now_ns: int) -> TeleopCommand:
        newest = self._newest
        if self._port is None or newest is None:
            raise TeleopError("the GELLO is not open; use it inside `with device:`")
        switch = self._switch.read(now_ns)
        alive = switch.alive and now_ns - newest.stamp_ns < _LOST_NS
        joints = self._signs * (newest.positions[:6] - self._offsets)
        return replace(
            switch,
            stamp_ns=min(now_ns, newest.stamp_ns),
            motion=LeaderJoints(joint_positions=joints),
            gripper_opening=self._opening(newest, otherwise=switch.gripper_opening),
            enabled=switch.enabled and alive,
            alive=alive,
        )

    def _opening(self, reading: _Reading, *, otherwise: float | None) -> float | None:
        if self._spec.trigger_id is None:
            return otherwise
        travel = self._spec.trigger_open - self._spec.trigger_closed
        return float(np.clip((reading.positions[6] - self._spec.trigger_closed) / travel, 0.0, 1.0))

    def _sync_reader(self) -> Any:
        packets = dynamixel_sdk.PacketHandler(PROTOCOL)
        reader = dynamixel_sdk.GroupSyncRead(self._port, packets, POSITION_ADDRESS, POSITION_BYTES)
        for servo in self._ids:
            reader.addParam(servo)
        return reader

    def _first_reading(self) -> _Reading:
        for _ in range(_FIRST_READINGS):
            reading = self._reading()
            if reading is not None:
                return reading
        raise TeleopError(
            f"the GELLO's servos {', '.join(map(str, self._ids))} do not all answer on {self._spec.port} at "
            f"{self._spec.baud_rate} baud; check its power, the chain's cables and joint_ids"
        )

    def _read_on(self) -> None:
        while not self._ending.is_set():
            reading = self._reading()
            if reading is not None:
                self._newest = reading
            else:
                self._ending.wait(0.01)  # a port that is gone fails at once

    def _reading(self) -> _Reading | None:
        """All servos together; None if one of them did not answer."""
        stamp_ns = self._clock.now_ns()
        try:
            if self._reader.txRxPacket() != dynamixel_sdk.COMM_SUCCESS:
                return None
        except (OSError, TypeError):  # the SDK reads on in a port that has been closed under it
            return None
        counts = [self._reader.getData(servo, POSITION_ADDRESS, POSITION_BYTES) for servo in self._ids]
        signed = np.array(counts, dtype=np.uint32).astype(np.int32)
        return _Reading(stamp_ns, signed * RAD_PER_COUNT)
