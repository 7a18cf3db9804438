"""MCAP as rosbag2 writes it: schemas and channels first, messages in chunks with a checksum, the index at the end.

A chunk is written in one system call from the messages' own buffers: nothing is copied, and what a killed recorder leaves
behind ends with a whole chunk or with one that is cut off. Format: https://mcap.dev/spec.
"""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from mola_core.data.episodes.append_file import AppendFile, Part

MAGIC = b"\x89MCAP0\r\n"
PROFILE = "ros2"
LIBRARY = "mola"

_MESSAGE = struct.Struct("<BQHIQQ")
"""Opcode, length, channel, sequence, log time, publish time."""
_CHUNK = struct.Struct("<BQQQQIIQ")
"""Opcode, length, first and last log time, size and checksum uncompressed, length of the empty codec's name, size."""
_HEAD = 9
"""Opcode and length of any record."""


@dataclass(frozen=True, slots=True)
class ChunkOfMessages:
    """A chunk ready to be written: its messages' bytes, and where in it the messages of each channel lie."""

    parts: list[Part]
    size: int
    crc: int
    start_ns: int
    end_ns: int
    index: dict[int, list[tuple[int, int]]]
    """By channel: log time and offset of each message."""


class McapWriter:
    """Writes one file; belongs to one thread."""

    def __init__(self, file: AppendFile) -> None:
        """Begin the file.

        Raises:
            OSError: it cannot be written.
        """
        self._file = file
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunk_indexes: list[bytes] = []
        """As bytes: an hour of video makes tens of thousands."""
        self._metadata: list[MetadataIndex] = []
        self._counts: dict[int, int] = defaultdict(int)
        self._start_ns, self._end_ns = 0, 0
        file.append([MAGIC, _bytes_of(Header(PROFILE, LIBRARY))])

    def declare(self, schemas: Sequence[Schema], channels: Sequence[Channel]) -> None:
        """Say which streams there are, ahead of all messages: a cut-off file can then be read from its beginning.

        Raises:
            OSError: it cannot be written.
        """
        self._file.append([_bytes_of(*schemas, *channels)])
        self._schemas += schemas
        self._channels += channels

    def write_metadata(self, name: str, content: Mapping[str, str]) -> None:
        """A named record of text.

        Raises:
            OSError: it cannot be written.
        """
        data = _bytes_of(Metadata(name=name, metadata=dict(content)))
        offset = self._file.size
        self._file.append([data])
        self._metadata.append(MetadataIndex(offset=offset, length=len(data), name=name))

    def write_chunk(self, chunk: ChunkOfMessages) -> None:
        """Write a chunk and its index; all of it or nothing.

        Raises:
            OSError: e.g. the disk is full; the chunk may be written again.
        """
        length = _CHUNK.size - _HEAD + chunk.size
        head = _CHUNK.pack(Opcode.CHUNK, length, chunk.start_ns, chunk.end_ns, chunk.size, chunk.crc, 0, chunk.size)
        offset = self._file.size
        index, index_offsets = _message_index(chunk, offset=offset + _HEAD + length)
        self._file.append([head, *chunk.parts, index])
        self._chunk_indexes.append(
            _bytes_of(
                ChunkIndex(
                    message_start_time=chunk.start_ns,
                    message_end_time=chunk.end_ns,
                    chunk_start_offset=offset,
                    chunk_length=_HEAD + length,
                    message_index_offsets=index_offsets,
                    message_index_length=len(index),
                    compression="",
                    compressed_size=chunk.size,
                    uncompressed_size=chunk.size,
                )
            )
        )
        self._start_ns = min(self._start_ns, chunk.start_ns) if self._counts else chunk.start_ns
        self._end_ns = max(self._end_ns, chunk.end_ns)
        for channel, entries in chunk.index.items():
            self._counts[channel] += len(entries)

    @property
    def counts(self) -> dict[int, int]:
        """Messages written, by channel."""
        return dict(self._counts)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last log time written; 0, 0 before any."""
        return self._start_ns, self._end_ns

    def finish(self) -> None:
        """Write the index and end the file.

        Raises:
            OSError: it cannot be written; the file is as it was before.
        """
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunk_indexes),
            message_count=sum(self._counts.values()),
            message_start_time=self._start_ns,
            message_end_time=self._end_ns,
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )
        groups = [
            (Opcode.SCHEMA, _bytes_of(*self._schemas)),
            (Opcode.CHANNEL, _bytes_of(*self._channels)),
            (Opcode.STATISTICS, _bytes_of(statistics)),
            (Opcode.CHUNK_INDEX, b"".join(self._chunk_indexes)),
            (Opcode.METADATA_INDEX, _bytes_of(*self._metadata)),
        ]
        data_end = _bytes_of(DataEnd(0))
        self._file.append([data_end, *_summary(groups, start=self._file.size + len(data_end)), MAGIC])


class ChunkBuilder:
    """Collects messages of a chunk."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.size = 0
        self._parts: list[Part] = []
        self._index: dict[int, list[tuple[int, int]]] = {}
        self._crc, self._start_ns, self._end_ns = 0, 0, 0

    def add(self, *, channel: int, sequence: int, log_ns: int, publish_ns: int, data: Part) -> None:
        """Take one message; its buffer is kept, not copied."""
        head = _MESSAGE.pack(Opcode.MESSAGE, 22 + len(data), channel, sequence & 0xFFFFFFFF, log_ns, max(publish_ns, 0))
        self._crc = zlib.crc32(data, zlib.crc32(head, self._crc))
        self._start_ns = log_ns if not self._parts else min(self._start_ns, log_ns)
        self._end_ns = max(self._end_ns, log_ns)
        self._index.setdefault(channel, []).append((log_ns, self.size))
        self._parts += (head, data)
        self.size += len(head) + len(data)

    def take(self) -> ChunkOfMessages | None:
        """The chunk so far, and begin the next one; None where there is nothing."""
        if not self._parts:
            return None
        chunk = ChunkOfMessages(self._parts, self.size, self._crc, self._start_ns, self._end_ns, self._index)
        self._begin()
        return chunk


def _message_index(chunk: ChunkOfMessages, *, offset: int) -> tuple[bytes, dict[int, int]]:
    builder = RecordBuilder()
    offsets = {}
    for channel, entries in chunk.index.items():
        offsets[channel] = offset + builder.count
        MessageIndex(channel_id=channel, records=entries).write(builder)
    return _end(builder), offsets


def _summary(groups: Iterable[tuple[Opcode, bytes]], *, start: int) -> list[bytes]:
    """Records of the summary, where each group of them begins, and the footer."""
    parts: list[bytes] = []
    offsets: list[McapRecord] = []
    position = start
    for opcode, data in groups:
        if data:
            offsets.append(SummaryOffset(group_opcode=opcode, group_start=position, group_length=len(data)))
        parts.append(data)
        position += len(data)
    parts.append(_bytes_of(*offsets))
    body = b"".join(parts)
    head = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, position)
    footer = Footer(summary_start=start, summary_offset_start=position, summary_crc=zlib.crc32(head, zlib.crc32(body)))
    return [body, _bytes_of(footer)]


def _bytes_of(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return _end(builder)


def _end(builder: RecordBuilder) -> bytes:
    data: bytes = builder.end()  # type: ignore[no-untyped-call]  # the library annotates most, not this
    return data
