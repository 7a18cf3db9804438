"""Who wants which camera at what size, and the newest frame for each: between the renderer's thread and the clients'."""

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8, UInt16

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import ConfigError
from mola_twin.cell import optics

CAMERA_MODELS = {"third_person": "D455", "wrist": "D405"}
"""Role to model, in the order of the fault bits."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What one client asks for."""

    camera: str
    width: int
    height: int
    fps: int
    depth: bool

    @classmethod
    def parse(cls, content: object) -> "StreamRequest":
        """From a decoded JSON line.

        Raises:
            ConfigError: a field is missing, unknown, or out of range; names it.
        """
        if not isinstance(content, dict):
            raise ConfigError(f"a camera request is a JSON object, got {content!r:.80}")
        missing = [name for name in cls.__slots__ if name not in content]
        unknown = [name for name in content if name not in cls.__slots__]
        if missing or unknown:
            raise ConfigError(f"a camera request has the fields {', '.join(cls.__slots__)}, got {', '.join(content)}")
        request = cls(**content)
        if request.camera not in CAMERA_MODELS:
            raise ConfigError(f"camera {request.camera!r} is not known; the twin has {', '.join(CAMERA_MODELS)}")
        if not (isinstance(request.fps, int) and 1 <= request.fps <= 90):
            raise ConfigError(f"fps {request.fps!r} is outside 1..90")
        if not (isinstance(request.width, int) and isinstance(request.height, int)):
            raise ConfigError(f"width and height are whole pixels, got {request.width!r} and {request.height!r}")
        optics.intrinsics(model=request.model, width=request.width, height=request.height)  # its errors name the range
        return request

    @property
    def model(self) -> str:
        """D455 or D405."""
        return CAMERA_MODELS[self.camera]

    @property
    def camera_bit(self) -> int:
        """Bit of this camera in the fault mask."""
        return list(CAMERA_MODELS).index(self.camera)

    @property
    def period_ns(self) -> int:
        """Between frames."""
        return round(NS_PER_S / self.fps)


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """One frame as it goes over the wire."""

    stamp_ns: int
    sequence: int
    color: UInt8[np.ndarray, "height width 3"]
    depth_counts: UInt16[np.ndarray, "height width"] | None


@dataclass(slots=True)
class Stream:
    """One client's stream; the newest frame replaces one that was not fetched."""

    request: StreamRequest
    due_ns: int = 0
    """Monotonic time of the next frame."""
    sequence: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    """Set by the renderer once it can draw this size; the first time takes a second."""
    _frame: RenderedFrame | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False

    def put(self, frame: RenderedFrame) -> None:
        """From the renderer: the newest frame."""
        with self._changed:
            self._frame = frame
            self._changed.notify_all()

    def take(self, timeout_s: float) -> RenderedFrame | None:
        """The newest frame not taken yet; None after ``timeout_s`` or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout=timeout_s)
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class StreamRegistry:
    """All open streams."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._changed = threading.Condition()

    def open(self, request: StreamRequest) -> Stream:
        """A new stream; drawn from now on."""
        stream = Stream(request)
        with self._changed:
            self._streams.append(stream)
            self._changed.notify_all()
        return stream

    def close(self, stream: Stream) -> None:
        """Not drawn any more."""
        with self._changed:
            if stream in self._streams:
                self._streams.remove(stream)
        stream.close()

    def all(self) -> list[Stream]:
        """The open streams now."""
        with self._changed:
            return list(self._streams)

    def wait_any(self, timeout_s: float) -> bool:
        """Block until a stream is open; False after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._streams), timeout=timeout_s)
