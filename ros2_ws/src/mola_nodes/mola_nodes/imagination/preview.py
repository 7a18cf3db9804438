"""What is imagined, for people: decoded beside the control path, never in it."""

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.errors import MolaError
from mola_core.runtime.foresight import Foresight
from mola_nodes.background import come_last
from mola_nodes.imagination.loop import ImaginationHalf


class PreviewThread:
    """Shows people what is imagined, a few times a second, at a priority below everything that moves the arm."""

    def __init__(
        self,
        *,
        newest: Callable[[], tuple[ImaginationHalf, Foresight] | None],
        show: Callable[[str, np.ndarray, Foresight], None],
        period_s: float,
    ) -> None:
        """``show`` is given the camera, its imagined frames (T height width 3, uint8 RGB) and their foresight."""
        self._newest = newest
        self._show = show
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preview", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        come_last()
        shown: Foresight | None = None
        while not self._stop.wait(self._period_s):
            newest = self._newest()
            if newest is None or newest[1] is shown:
                continue
            half, shown = newest
            with contextlib.suppress(MolaError):  # a bundle without pictures, or one that has just been retired
                for camera, frames in half.imagination.preview(shown).items():
                    self._show(camera, frames, shown)
