"""What can still be read of an MCAP file that was cut off or damaged: whole records, and chunks whose checksum holds."""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata, Schema

from mola_core.data.episodes.mcap_writer import MAGIC, ChunkOfMessages
from mola_core.data.episodes.meta import EpisodeError

_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII")
"""First and last log time, size and checksum uncompressed, length of the codec's name."""
_MESSAGE = struct.Struct("<HIQQ")
"""Channel, sequence, log time, publish time."""
_SMALL = 16 << 20
"""No record of ours but a chunk or the index is larger."""
_NAMES = frozenset(opcode.value for opcode in Opcode)


@dataclass(slots=True)
class Salvage:
    """Filled while :func:`chunks_of` runs."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    is_finished: bool = False
    """The file ends with an index."""
    good_bytes: int = 0
    """Up to here, from the beginning, everything was whole."""
    skipped_bytes: int = 0
    """Damaged in the middle, with whole chunks behind."""
    lost_bytes: int = 0
    """At the end: the chunk that was open, or what was damaged there."""


def chunks_of(path: Path, found: Salvage) -> Iterator[ChunkOfMessages]:
    """Whole chunks in the order of the file; ``found`` is filled on the way, its sizes when the last was given.

    Raises:
        EpisodeError: not an MCAP file, or compressed, which this recorder never does.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
            raise EpisodeError(
                f"{path} does not begin as an MCAP file ({size} bytes); nothing can be recovered from it"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _walk(data, found, path=path)


def _walk(data: mmap.mmap, found: Salvage, *, path: Path) -> Iterator[ChunkOfMessages]:
    position, damaged_from = len(MAGIC), None
    while position < len(data):
        end, chunk = _record(data, position, found, path=path)
        if end is None:  # damaged: go on at the next place that looks like a chunk
            damaged_from = position if damaged_from is None else damaged_from
            position = _next_candidate(data, position + 1)
            continue
        if damaged_from is not None:
            found.skipped_bytes += position - damaged_from
            damaged_from = None
        if chunk is not None:
            yield chunk
        position = end
        if found.skipped_bytes == 0:
            found.good_bytes = end
        if found.is_finished:
            return
    if damaged_from is not None:
        found.lost_bytes = len(data) - damaged_from


def _record(data: mmap.mmap, position: int, found: Salvage, *, path: Path) -> tuple[int | None, ChunkOfMessages | None]:
    """Where the record at ``position`` ends (None: it is damaged), and the chunk that it is."""
    end = _end_of_record(data, position)
    if end is None:
        return None, None
    if data[position] != Opcode.CHUNK:
        return (end if _note(data, position, end, found) else None), None
    chunk = _chunk(data, position + _HEAD.size, end, path=path)
    return (None if chunk is None else end), chunk


def _end_of_record(data: mmap.mmap, position: int) -> int | None:
    if position + _HEAD.size > len(data):
        return None
    opcode, length = _HEAD.unpack_from(data, position)
    if opcode not in _NAMES or (opcode != Opcode.CHUNK and length > _SMALL):
        return None
    end: int = position + _HEAD.size + length
    return end if end <= len(data) else None


def _chunk(data: mmap.mmap, start: int, end: int, *, path: Path) -> ChunkOfMessages | None:
    """The chunk whose content lies between; None where it is damaged."""
    if end - start < _CHUNK.size + 8:
        return None
    start_ns, end_ns, size, crc, codec = _CHUNK.unpack_from(data, start)
    records = start + _CHUNK.size + codec + 8
    if codec:
        name = data[start + _CHUNK.size : start + _CHUNK.size + min(codec, 8)]
        if name in {b"zstd", b"lz4"} and records <= end:
            raise EpisodeError(f"{path} is compressed ({name.decode()}); recover it with the tool that recorded it")
        return None
    if records + size != end or zlib.crc32(content := data[records:end]) != crc:
        return None
    index = _index_of(content)
    return None if index is None else ChunkOfMessages([content], size, crc, start_ns, end_ns, index)


def _index_of(content: bytes) -> dict[int, list[tuple[int, int]]] | None:
    index: dict[int, list[tuple[int, int]]] = {}
    position = 0
    while position + _HEAD.size <= len(content):
        opcode, length = _HEAD.unpack_from(content, position)
        if opcode == Opcode.MESSAGE:
            channel, _, log_ns, _ = _MESSAGE.unpack_from(content, position + _HEAD.size)
            index.setdefault(channel, []).append((log_ns, position))
        position += _HEAD.size + length
    return index if position == len(content) else None


def _note(data: mmap.mmap, position: int, end: int, found: Salvage) -> bool:
    """Take note of a record that is no chunk; False where it is damaged."""
    opcode = data[position]
    stream = ReadDataStream(BytesIO(data[position + _HEAD.size : end]))
    try:
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            found.schemas.setdefault(schema.id, schema)
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(stream)
            found.channels.setdefault(channel.id, channel)
        elif opcode == Opcode.METADATA:
            metadata = Metadata.read(stream)
            found.metadata.setdefault(metadata.name, metadata.metadata)
        elif opcode == Opcode.FOOTER:
            found.is_finished = data[end:] == MAGIC
    except Exception:  # noqa: BLE001 (the library raises whatever damaged bytes make it stumble over)
        return False
    return True


def _next_candidate(data: mmap.mmap, start: int) -> int:
    """Where the next chunk could begin: its opcode, a length that fits, no codec."""
    position = data.find(b"\x06", start)
    while position >= 0:
        end = _end_of_record(data, position)
        if end is not None and end - position >= _HEAD.size + _CHUNK.size + 8:
            _, _, size, _, codec = _CHUNK.unpack_from(data, position + _HEAD.size)
            if codec == 0 and position + _HEAD.size + _CHUNK.size + 8 + size == end:
                return position
        position = data.find(b"\x06", position + 1)
    return len(data)
