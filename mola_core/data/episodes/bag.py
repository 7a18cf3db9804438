"""A finished MCAP file: what is in it, and its messages in the order of arrival."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Schema, Statistics
from mcap.stream_reader import CRCValidationError
from mcap.summary import Summary
from mcap_ros2.decoder import DecoderFactory

from mola_core.data.episodes.meta import EpisodeError

_DAMAGE = (McapError, CRCValidationError, EOFError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Stream:
    """One topic of a bag."""

    topic: str
    type_name: str
    type_hash: str
    """RIHS01, of the definition it was recorded with; empty where the bag does not say."""
    count: int


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as it lies in the bag."""

    topic: str
    type_name: str
    received_ns: int
    sent_ns: int
    sequence: int
    data: bytes
    """CDR."""
    decode: Callable[[bytes], Any]

    def decoded(self) -> Any:
        """The message with its fields as attributes.

        Raises:
            EpisodeError: the bytes are not a message of this type.
        """
        try:
            return self.decode(self.data)
        except Exception as error:  # the decoder raises whatever it stumbles over
            raise EpisodeError(
                f"message {self.sequence} of {self.topic} is not a {self.type_name}: {error or type(error).__name__}"
            ) from error


class Bag:
    """Open until closed."""

    def __init__(self, path: Path) -> None:
        """Read the index.

        Raises:
            EpisodeError: no such file, never finished, or damaged.
        """
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise EpisodeError(f"{path} cannot be read: {error.strerror}") from error
        try:
            self._reader = SeekingReader(self._file, validate_crcs=True)
            summary = self._reader.get_summary()
        except _DAMAGE as error:
            self._file.close()
            raise self._damaged(error) from error
        if summary is None or summary.statistics is None:
            self._file.close()
            raise EpisodeError(f"{path} has no index; mola episode recover rebuilds it")
        self._statistics: Statistics = summary.statistics
        self.streams: dict[str, Stream] = dict(_streams(summary, counts=self._statistics.channel_message_counts))
        self._decoders = DecoderFactory()

    @property
    def start_ns(self) -> int:
        """Receive stamp of the first message; 0 in an empty bag."""
        return self._statistics.message_start_time

    @property
    def end_ns(self) -> int:
        """Receive stamp of the last message; 0 in an empty bag."""
        return self._statistics.message_end_time

    def messages(self, topics: Sequence[str] = ()) -> Iterator[RawMessage]:
        """Messages of ``topics`` (all, where none is named), in the order of arrival.

        Raises:
            EpisodeError: a chunk is damaged.
        """
        try:
            for schema, channel, message in self._reader.iter_messages(topics=list(topics) or None):
                if schema is None:
                    continue
                yield RawMessage(
                    topic=channel.topic,
                    type_name=schema.name,
                    received_ns=message.log_time,
                    sent_ns=message.publish_time,
                    sequence=message.sequence,
                    data=message.data,
                    decode=self._decoder(channel, schema),
                )
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _decoder(self, channel: Channel, schema: Schema) -> Callable[[bytes], Any]:
        decoder = self._decoders.decoder_for(channel.message_encoding, schema)
        if decoder is None:
            raise EpisodeError(
                f"{self.path}: {channel.topic} is encoded as {channel.message_encoding!r} with {schema.encoding!r} "
                "definitions; cdr with ros2msg is understood"
            )
        return decoder

    def _damaged(self, error: BaseException) -> EpisodeError:
        return EpisodeError(
            f"{self.path} is damaged ({error or type(error).__name__}); mola episode recover saves what can be read"
        )


def _streams(summary: Summary, *, counts: Mapping[int, int]) -> Iterator[tuple[str, Stream]]:
    for number, channel in summary.channels.items():
        schema = summary.schemas.get(channel.schema_id)
        stream = Stream(
            topic=channel.topic,
            type_name="" if schema is None else schema.name,
            type_hash=channel.metadata.get("topic_type_hash", ""),
            count=counts.get(number, 0),
        )
        yield channel.topic, stream
