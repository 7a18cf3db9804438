"""Dynamixel servos of protocol 2 on a pseudo-terminal: answers pings, reads and synchronous reads as servos do."""

import os
import pty
import struct
import threading
import tty
from types import TracebackType
from typing import Self

import dynamixel_sdk

HEADER = bytes([0xFF, 0xFF, 0xFD, 0x00])
SYNC_READ, STATUS = 0x82, 0x55
RAD_PER_COUNT = 6.283185307179586 / 4096


def crc16(data: bytes) -> int:
    """As Robotis specifies it: polynomial 0x8005, nothing reflected."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005) & 0xFFFF if crc & 0x8000 else crc << 1 & 0xFFFF
    return crc


def packet(servo: int, instruction: int, parameters: bytes) -> bytes:
    body = HEADER + bytes([servo]) + struct.pack("<H", len(parameters) + 3) + bytes([instruction]) + parameters
    return body + struct.pack("<H", crc16(body))


class DynamixelBus:
    """Servos with these ids; ``positions`` are in rad and may be changed at any time."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.positions = dict.fromkeys(ids, 0.0)
        self.num_reads = 0

    def __enter__(self) -> Self:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        for name in ("_slave", "_master"):
            fd = self.__dict__.pop(name, None)
            if fd is not None:
                os.close(fd)

    def _serve(self) -> None:
        received = b""
        while True:
            try:
                received += os.read(self._master, 512)
            except (OSError, AttributeError):
                return
            while (start := received.find(HEADER)) >= 0 and len(received) >= start + 7:
                (length,) = struct.unpack_from("<H", received, start + 5)
                end = start + 7 + length
                if len(received) < end:
                    break
                try:
                    self._answer(received[start:end])
                except (OSError, AttributeError):
                    return  # unplugged
                received = received[end:]

    def _answer(self, message: bytes) -> None:
        assert crc16(message[:-2]) == struct.unpack("<H", message[-2:])[0]
        instruction, parameters = message[7], message[8:-2]
        if instruction != SYNC_READ:
            return
        address, length = struct.unpack_from("<HH", parameters)
        assert (address, length) == (132, 4), "only the present position is simulated"
        self.num_reads += 1
        for servo in parameters[4:]:
            if servo not in self.positions:
                return  # the servos after a missing one stay silent too: they wait for it
            count = round(self.positions[servo] / RAD_PER_COUNT)
            os.write(self._master, packet(servo, STATUS, b"\x00" + struct.pack("<i", count)))


assert dynamixel_sdk.INST_SYNC_READ == SYNC_READ
