"""What a camera node needs of a camera.

A camera belongs to one thread. librealsense's ``stop`` and ``hardware_reset`` can hang for good: every wait here is
bounded, and when even that does not help (:class:`CameraHungError`) only the end of the process does. So a camera
lives in a process of its own that a supervisor may kill and start again.
"""

from types import TracebackType
from typing import Protocol, Self

from mola_core.contracts.errors import CameraError
from mola_core.contracts.types import CameraInfo, Frame


class CameraHungError(CameraError):
    """The library did not come back from closing the device; the process must end."""


class EndOfRecordingError(CameraError):
    """A recorded file has been played to its end; there is nothing to reconnect to."""


class Camera(Protocol):
    """One source of stamped colour frames, with depth seen by the same pixels where the site asks for it."""

    def __enter__(self) -> Self:
        """Find the device, set it up as the site says, start it, drop the warm-up frames. Takes bounded time.

        Raises:
            CameraError: absent, lacks the resolution or option asked for, or delivers nothing; says what there is.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the device; bounded.

        Raises:
            CameraHungError: the library did not come back.
        """
        ...

    @property
    def info(self) -> CameraInfo:
        """Model, serial, intrinsics and extrinsics as the device gives them.

        Raises:
            CameraError: not open.
        """
        ...

    def read(self, *, timeout_ms: int) -> Frame:
        """The newest frame not yet returned; stamps strictly increase while the camera stays open.

        Colour and depth that are further apart in time than half a frame period do not make a frame.

        Raises:
            CameraError: nothing new within ``timeout_ms``; close the camera, open it again.
            EndOfRecordingError: the recorded file is over.
        """
        ...
