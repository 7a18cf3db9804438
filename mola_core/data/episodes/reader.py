"""Reading an episode: what it says of itself, and its streams decoded, in the order in which they were received.

    with EpisodeReader(path) as episode:
        for frame in episode.frames("wrist"): ...

Needs no ROS: messages are decoded with the definitions that the bag carries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mola_core.contracts.types import ActionChunk, CameraIntrinsics, CommandedState, Frame, RobotState
from mola_core.data.episodes import decoding, layout
from mola_core.data.episodes.bag import Bag, RawMessage, Stream
from mola_core.data.episodes.frames import FramePairing
from mola_core.data.episodes.meta import CameraStreams, EpisodeError, EpisodeMeta, meta_from_json


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One message as it was received."""

    topic: str
    type_name: str
    """E.g. ``mola_interfaces/msg/RobotState``."""
    received_ns: int
    """When the recorder received it; host epoch. When it was captured is in the message itself."""
    sent_ns: int
    """When its publisher handed it over."""
    sequence: int
    """The publisher's running number as the transport counts; 0 where it does not."""
    message: Any
    """Attributes as in the message definition; ``uint8[]`` are bytes."""


class EpisodeReader:
    """An episode that was recorded to its end, or recovered. Every iterator reads the bag anew."""

    def __init__(self, path: Path) -> None:
        """Open the episode in folder ``path``.

        Raises:
            EpisodeError: there is none, it was never finished (``mola episode recover``), or it is damaged.
        """
        self.path = path
        self.meta: EpisodeMeta = read_meta(path)
        self._bag = Bag(layout.bag_file(path))

    @property
    def streams(self) -> dict[str, Stream]:
        """Every topic of the bag: type, number of messages."""
        return self._bag.streams

    def robot_states(self) -> Iterator[RobotState]:
        """What the arm measured, by stamp (host epoch, ns)."""
        for recorded in self.messages(self.meta.streams.robot_state):
            yield decoding.robot_state(recorded.message)

    def commanded(self) -> Iterator[CommandedState]:
        """What the servo asked of arm and gripper, by stamp: the actions."""
        for recorded in self.messages(self.meta.streams.commanded):
            yield decoding.commanded_state(recorded.message)

    def chunks(self) -> Iterator[ActionChunk]:
        """What policies and devices sent, in the order of arrival; refused ones included."""
        for recorded in self.messages(self.meta.streams.action_chunk):
            yield decoding.action_chunk(recorded.message)

    def frames(self, camera: str) -> Iterator[Frame]:
        """Frames of the camera with this role, by capture stamp: colour with the depth of the same stamp, where it came.

        A frame whose metadata message was lost has sequence -1 and the stamp domain of the frames around it.

        Raises:
            EpisodeError: the episode has no such camera.
        """
        streams = self._camera(camera)
        pairing = FramePairing(streams)
        topics = (streams.color, streams.depth, streams.metadata)
        recorded_topics = [topic for topic in topics if topic in self.streams]
        if not recorded_topics:  # naming none would mean all
            return
        for recorded in self.messages(*recorded_topics):
            yield from pairing.add(recorded.topic, recorded.message, received_ns=recorded.received_ns)
        yield from pairing.rest()

    def intrinsics(self, camera: str) -> CameraIntrinsics | None:
        """Of the colour image, which the depth is aligned to; None where the camera sent none.

        Raises:
            EpisodeError: the episode has no such camera, or its calibration makes no sense.
        """
        topic = self._camera(camera).color_info
        for recorded in self.messages(topic):
            return decoding.intrinsics(recorded.message)
        return None

    def messages(self, *topics: str) -> Iterator[RecordedMessage]:
        """Decoded messages of ``topics`` (all, where none is named), in the order of arrival.

        Raises:
            EpisodeError: a chunk of the bag is damaged, or a message is not of its type.
        """
        for raw in self.raw_messages(*topics):
            yield RecordedMessage(
                topic=raw.topic,
                type_name=raw.type_name,
                received_ns=raw.received_ns,
                sent_ns=raw.sent_ns,
                sequence=raw.sequence,
                message=raw.decoded(),
            )

    def raw_messages(self, *topics: str) -> Iterator[RawMessage]:
        """The same, as bytes.

        Raises:
            EpisodeError: a chunk of the bag is damaged.
        """
        return self._bag.messages(topics)

    def _camera(self, role: str) -> CameraStreams:
        streams = self.meta.streams.cameras.get(role)
        if streams is None:
            raise EpisodeError(f"{self.path} has no camera {role!r}; it has {', '.join(self.meta.cameras)}")
        return streams

    def close(self) -> None:
        """Close the bag."""
        self._bag.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_meta(path: Path) -> EpisodeMeta:
    """``episode.json`` of the episode in folder ``path``.

    Raises:
        EpisodeError: there is none, or it is damaged.
    """
    if not path.is_dir():
        raise EpisodeError(f"there is no episode {path}; mola episode list shows those that there are")
    file = path / layout.META_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EpisodeError(f"{path} is no episode: {layout.META_NAME} cannot be read ({error})") from error
    return meta_from_json(text, where=file)
