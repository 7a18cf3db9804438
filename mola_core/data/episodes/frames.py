"""Colour, depth and metadata of one camera, put together again by their stamp."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mola_core.contracts.types import Frame, StampDomain
from mola_core.data.episodes import decoding
from mola_core.data.episodes.meta import CameraStreams

_HELD = 8
"""Colour images that wait for their depth; the camera node sends both at once, a transport may swap neighbours."""


@dataclass(slots=True)
class _Parts:
    color: np.ndarray | None = None
    received_ns: int = 0
    depth: np.ndarray | None = None
    metadata: tuple[StampDomain, int, int] | None = None


class FramePairing:
    """Takes the messages of one camera in the order of arrival, gives frames in the order of capture."""

    def __init__(self, streams: CameraStreams) -> None:
        self._streams = streams
        self._waiting: dict[int, _Parts] = {}
        self._domain = StampDomain.HOST_RECEIVE
        self._given_ns = -1

    def add(self, topic: str, message: Any, *, received_ns: int) -> Iterator[Frame]:
        """Take one message; give the frames that can no longer become more complete."""
        if topic == self._streams.metadata:
            stamp_ns, domain, camera_received_ns, sequence = decoding.frame_metadata(message)
            self._domain = domain
            self._parts(stamp_ns).metadata = (domain, camera_received_ns, sequence)
        elif topic == self._streams.color:
            parts = self._parts(decoding.ns_of(message.header.stamp))
            parts.color, parts.received_ns = decoding.color_image(message), received_ns
        else:
            self._parts(decoding.ns_of(message.header.stamp)).depth = decoding.depth_image(message)
        while len(self._waiting) > _HELD:
            yield from self._give_oldest()

    def rest(self) -> Iterator[Frame]:
        """The frames that still waited when the recording ended."""
        while self._waiting:
            yield from self._give_oldest()

    def _parts(self, stamp_ns: int) -> _Parts:
        return self._waiting.setdefault(stamp_ns, _Parts())

    def _give_oldest(self) -> Iterator[Frame]:
        stamp_ns = min(self._waiting)
        parts = self._waiting.pop(stamp_ns)
        if parts.color is None or stamp_ns <= self._given_ns:  # depth or metadata alone is no frame
            return
        self._given_ns = stamp_ns
        domain, received_ns, sequence = parts.metadata or (self._domain, parts.received_ns, -1)
        yield Frame(
            stamp_ns=stamp_ns,
            stamp_domain=domain,
            received_ns=received_ns,
            sequence=sequence,
            color=parts.color,
            depth=parts.depth,
        )
