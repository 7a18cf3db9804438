"""RTDE version 2 on the wire: big-endian frames of size (u16, header included), type (u8) and payload.

Source: Universal Robots, "Real-Time Data Exchange (RTDE) Guide".
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct(">HB")
HEADER_SIZE = _HEADER.size


class Package(IntEnum):
    """Types of package; the letters of their ASCII codes."""

    REQUEST_PROTOCOL_VERSION = ord("V")
    GET_URCONTROL_VERSION = ord("v")
    TEXT_MESSAGE = ord("M")
    DATA = ord("U")
    SETUP_OUTPUTS = ord("O")
    SETUP_INPUTS = ord("I")
    START = ord("S")
    PAUSE = ord("P")


STRUCT_CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT32": "I",
    "UINT64": "Q",
    "INT32": "i",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
}


class MalformedFrameError(Exception):
    """The client does not speak RTDE."""


def frame(package: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEADER.pack(HEADER_SIZE + len(payload), package) + payload


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Complete frames as (type, payload); raises :class:`MalformedFrameError`."""
        buffer = self._buffer + data if self._buffer else data
        start = 0
        while len(buffer) - start >= HEADER_SIZE:
            size, kind = _HEADER.unpack_from(buffer, start)
            if size < HEADER_SIZE:
                raise MalformedFrameError(f"frame of {size} bytes, a header alone has {HEADER_SIZE}")
            if len(buffer) - start < size:
                break
            payload = buffer[start + HEADER_SIZE : start + size]
            start += size
            self._buffer = buffer[start:]
            yield kind, payload
        self._buffer = buffer[start:]


@dataclass(frozen=True, slots=True)
class Layout:
    """Types of a recipe's variables, and the packed form of a data package's payload (recipe id first)."""

    types: tuple[str, ...]
    packed: struct.Struct

    @classmethod
    def of(cls, types: Sequence[str]) -> "Layout":
        """Layout of known types."""
        return cls(types=tuple(types), packed=struct.Struct(">B" + "".join(STRUCT_CODES[name] for name in types)))


def variable_names(text: bytes) -> list[str]:
    """Names of a set-up package; the client ends its list with a comma."""
    return [name for name in text.decode("ascii", errors="replace").split(",") if name]
