"""A camera that is lost and found again, and how it is doing."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.types import CameraInfo, Frame
from mola_drivers.backoff import Backoff
from mola_drivers.camera.protocol import Camera, CameraHungError, EndOfRecordingError

_LOG = logging.getLogger(__name__)
_RATE_WINDOW = 30


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """How a stream is doing; a consistent snapshot."""

    connected: bool = False
    rate_hz: float = 0.0
    """Over the last second or so; 0 while disconnected."""
    num_frames: int = 0
    num_dropped: int = 0
    """Gaps in the device's own count of frames."""
    num_reconnects: int = 0
    last_stamp_ns: int = 0
    last_error: str = ""


class CameraStream:
    """Frames of any :class:`Camera`, reconnecting with backoff; every frame once, none twice, none invented.

    ``with stream:`` opens the camera for the first time and fails if it is not there; a loss later on is waited out.
    Belongs to one thread, except :attr:`health`.
    """

    def __init__(
        self,
        *,
        open_camera: Callable[[], Camera],
        frame_timeout_ms: int,
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        """``open_camera`` makes a closed camera, a fresh one for every attempt."""
        self._open_camera = open_camera
        self._frame_timeout_ms = frame_timeout_ms
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._camera: Camera | None = None
        self._info: CameraInfo | None = None
        self._health = CameraHealth()
        self._arrivals_ns: deque[int] = deque(maxlen=_RATE_WINDOW)
        self._last_sequence: int | None = None

    def __enter__(self) -> Self:
        """Open the camera.

        Raises:
            CameraError: it is absent or cannot do what the site asks.
        """
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    @property
    def info(self) -> CameraInfo:
        """What the camera said of itself when it was last open.

        Raises:
            CameraError: it has never been open.
        """
        if self._info is None:
            raise CameraError("the camera has not been opened yet")
        return self._info

    @property
    def health(self) -> CameraHealth:
        """The newest snapshot; callable from any thread."""
        return self._health

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Every frame as it arrives, until ``stop`` is set or a recording ends.

        Raises:
            CameraHungError: the library hangs; only a new process helps.
        """
        while not stop.is_set():
            try:
                camera = self._camera or self._reconnect()
                frame = camera.read(timeout_ms=self._frame_timeout_ms)
            except (EndOfRecordingError, CameraHungError) as error:
                self._note(connected=False, rate_hz=0.0, last_error=str(error))
                if isinstance(error, CameraHungError):
                    raise
                return
            except CameraError as error:
                self._lose(error, stop)
                continue
            self._backoff.reset()
            if frame.stamp_ns > self._health.last_stamp_ns:
                self._count(frame)
                yield frame

    def _reconnect(self) -> Camera:
        camera = self._connect()
        self._note(num_reconnects=self._health.num_reconnects + 1)
        return camera

    def _connect(self) -> Camera:
        camera = self._camera = self._open_camera().__enter__()
        self._info = camera.info
        self._last_sequence = None
        self._arrivals_ns.clear()
        self._note(connected=True)
        return camera

    def _disconnect(self) -> None:
        camera, self._camera = self._camera, None
        self._note(connected=False, rate_hz=0.0)
        if camera is not None:
            camera.__exit__(None, None, None)

    def _lose(self, error: CameraError, stop: threading.Event) -> None:
        if str(error) != self._health.last_error:
            _LOG.warning("camera lost: %s", error)
        self._note(last_error=str(error))
        self._disconnect()
        stop.wait(self._backoff.next_s())

    def _count(self, frame: Frame) -> None:
        dropped = 0 if self._last_sequence is None else max(0, frame.sequence - self._last_sequence - 1)
        self._last_sequence = frame.sequence
        self._arrivals_ns.append(self._clock.monotonic_ns())
        span_ns = self._arrivals_ns[-1] - self._arrivals_ns[0]
        self._note(
            num_frames=self._health.num_frames + 1,
            num_dropped=self._health.num_dropped + dropped,
            last_stamp_ns=frame.stamp_ns,
            rate_hz=(len(self._arrivals_ns) - 1) * NS_PER_S / span_ns if span_ns else 0.0,
        )

    def _note(self, **changes: object) -> None:
        self._health = replace(self._health, **changes)  # type: ignore[arg-type]  # replace() checks the names
