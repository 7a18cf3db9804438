"""A camera stream in the one thread that it belongs to."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from mola_core.contracts.errors import CameraError
from mola_core.contracts.types import CameraInfo, Frame
from mola_drivers.camera.stream import CameraStream


class CameraThread:
    """Opens ``stream`` on entering and hands over every frame until left.

    All callbacks run in the camera's thread; ``on_lost`` is called when only a new process can bring the camera back, ``on_bug`` for
    whatever else has ended the thread.
    """

    def __init__(
        self,
        stream: CameraStream,
        *,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[CameraError], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._stream = stream
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_bug = on_bug
        self._stop = threading.Event()
        self._opened: Future[CameraInfo] = Future()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    @property
    def info(self) -> CameraInfo:
        """What the camera said of itself when it was opened."""
        return self._opened.result()

    def __enter__(self) -> Self:
        """Start the thread and wait until the camera is open.

        Raises:
            CameraError: it is absent or cannot do what the site asks.
        """
        self._thread.start()
        self._opened.result()  # the driver bounds every wait of its own
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._stream as stream:
                self._opened.set_result(stream.info)
                for frame in stream.frames(self._stop):
                    self._on_frame(frame)
        except CameraError as error:
            if self._opened.done():
                self._on_lost(error)
            else:
                self._opened.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - nobody else would hear that the frames have ended, or do not begin
            if self._opened.done():
                self._on_bug(error)
            else:
                self._opened.set_exception(error)
