"""A camera's thread never ends unheard of: before the camera is open, and after."""

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Self

import pytest

from mola_core.contracts.errors import CameraError
from mola_nodes.camera_thread import CameraThread

PATIENCE_S = 10.0


class FakeStream:
    """Raises on opening, or after the first frame."""

    info = SimpleNamespace(model="D405")

    def __init__(self, *, opening: Exception | None = None, later: Exception | None = None) -> None:
        self._opening, self._later = opening, later

    def __enter__(self) -> Self:
        if self._opening is not None:
            raise self._opening
        return self

    def __exit__(self, *_: object) -> None: ...

    def frames(self, stop: threading.Event) -> Iterator[Any]:
        yield "frame"
        if self._later is not None:
            raise self._later
        stop.wait()


class Told:
    """What a camera's thread told its node."""

    def __init__(self) -> None:
        self.frames, self.lost, self.bugs = queue.Queue[Any](), queue.Queue[CameraError](), queue.Queue[BaseException]()

    def thread(self, stream: FakeStream) -> CameraThread:
        return CameraThread(
            stream,  # type: ignore[arg-type]
            on_frame=self.frames.put,
            on_lost=self.lost.put,
            on_bug=self.bugs.put,
        )


@pytest.mark.parametrize("error", [CameraError("no D405 is plugged in"), IndexError("pop from an empty list")])
def test_whatever_keeps_a_camera_from_opening_is_raised_where_it_was_asked_for(error: Exception) -> None:
    raised = queue.Queue[Exception]()

    def enter() -> None:
        try:
            Told().thread(FakeStream(opening=error)).__enter__()
        except (CameraError, IndexError) as caught:
            raised.put(caught)

    threading.Thread(target=enter, daemon=True).start()
    assert raised.get(timeout=PATIENCE_S) is error


def test_a_lost_camera_and_a_bug_are_told_apart() -> None:
    lost, bug = CameraError("it was unplugged"), IndexError("pop from an empty list")
    told = Told()
    with told.thread(FakeStream(later=lost)):
        assert told.lost.get(timeout=PATIENCE_S) is lost
    with told.thread(FakeStream(later=bug)):
        assert told.bugs.get(timeout=PATIENCE_S) is bug
    assert (told.frames.qsize(), told.lost.qsize()) == (2, 0)
