"""TFRecord files and ``tf.train.Example`` without TensorFlow: nothing is copied until a value is asked for.

Formats: a record is its length (uint64), the masked CRC-32C of that, the bytes, and their masked CRC-32C, all little-endian
(TensorFlow, ``io/record_writer.h``). An Example is a protocol buffer: field 1 Features, in it field 1 a map from name to Feature: a
list of bytes (1), of floats (2) or of int64 (3). The checksum of lengths is verified; that of the bytes is not.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from mola_core.data.errors import BadSourceFileError

_HEAD, _TAIL = 12, 4
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Record:
    """Where the bytes of one record lie."""

    path: Path
    offset: int
    length: int


def map_file(path: Path) -> memoryview:
    """The file's bytes, mapped. BadSourceFileError where it is missing or empty."""
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise BadSourceFileError(path, f"no readable TFRecord ({error})") from error


def records(path: Path) -> Iterator[Record]:
    """All records of a file.

    Raises:
        BadSourceFileError: the file ends inside a record, or a length is damaged.
    """
    content = map_file(path)
    offset = 0
    while offset < len(content):
        head = content[offset : offset + _HEAD]
        if len(head) < _HEAD:
            raise BadSourceFileError(path, f"ends inside the head of a record at byte {offset}")
        length, checksum = struct.unpack("<QI", head)
        if masked_crc32c(bytes(head[:8])) != checksum:
            raise BadSourceFileError(path, f"damaged length of the record at byte {offset}")
        begin = offset + _HEAD
        if begin + length + _TAIL > len(content):
            raise BadSourceFileError(
                path, f"ends inside the record at byte {offset}, {begin + length + _TAIL - len(content)} bytes short"
            )
        yield Record(path=path, offset=begin, length=length)
        offset = begin + length + _TAIL


def masked_crc32c(data: bytes) -> int:
    """TensorFlow's rotated CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _crc_table()[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return tuple(table)


class Example:
    """One ``tf.train.Example`` by the names of its features."""

    def __init__(self, record: Record, content: memoryview | None = None) -> None:
        """Find the features. BadSourceFileError where the bytes are no Example."""
        self._record = record
        whole = map_file(record.path) if content is None else content
        self._features: dict[str, memoryview] = {}
        try:
            for _, features in _fields(whole[record.offset : record.offset + record.length]):
                for _, entry in _fields(features):
                    parts = dict(_fields(entry))
                    self._features[bytes(parts[1]).decode()] = parts.get(2, entry[:0])
        except (ValueError, KeyError, IndexError) as error:
            raise self._bad(f"no Example ({error})") from error

    def __contains__(self, name: str) -> bool:
        return name in self._features

    @property
    def names(self) -> list[str]:
        """Of the features."""
        return sorted(self._features)

    def blobs(self, name: str) -> list[memoryview]:
        """A list of bytes, not copied."""
        return [value for _, value in _fields(self._list(name, kind=1))]

    def floats(self, name: str) -> Float32[np.ndarray, "n"]:
        """A list of floats."""
        parts = [bytes(value) for _, value in _fields(self._list(name, kind=2))]
        return np.frombuffer(b"".join(parts), "<f4")

    def integers(self, name: str) -> Int[np.ndarray, "n"]:
        """A list of int64."""
        values = []
        for wire, value in _fields(self._list(name, kind=3), with_wire=True):
            values += _varints(value) if wire == _BYTES else [int.from_bytes(value, "little", signed=True)]
        return np.array(values, dtype=np.int64)

    def numbers(self, name: str) -> Float32[np.ndarray, "n"]:
        """Floats, or integers and booleans as floats."""
        kinds = [kind for kind, _ in _fields(self._value(name))]
        return self.integers(name).astype(np.float32) if kinds == [3] else self.floats(name)

    def _value(self, name: str) -> memoryview:
        if name not in self._features:
            raise self._bad(f"no feature {name!r}; there are {', '.join(self.names)}")
        return self._features[name]

    def _list(self, name: str, *, kind: int) -> memoryview:
        value = self._value(name)
        found = dict(_fields(value))
        if found and kind not in found:
            raise self._bad(
                f"feature {name!r} is of kind {next(iter(found))}, not {kind} (1 bytes, 2 floats, 3 integers)"
            )
        return found.get(kind, value[:0])

    def _bad(self, reason: str) -> BadSourceFileError:
        return BadSourceFileError(self._record.path, f"record at byte {self._record.offset}: {reason}")


def _fields(message: memoryview, *, with_wire: bool = False) -> Iterator[tuple[int, memoryview]]:
    """(field number, or wire type where that is asked for; bytes) of each field of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire == _VARINT:
            value, at = _varint(message, at)
            signed = value - (1 << 64) if value >> 63 else value
            yield (wire if with_wire else tag >> 3), memoryview(signed.to_bytes(8, "little", signed=True))
            continue
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("a field longer than its message")
        yield (wire if with_wire else tag >> 3), message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varints(packed: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values
