"""What is imagined, for people: decoded beside the control path, never in it."""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.errors import MolaError, UnsupportedError
from mola_core.runtime.foresight import Foresight
from mola_nodes.imagination.half import ImaginationHalf
from mola_nodes.turns import Troubles, TurnThread


class PreviewThread:
    """Shows people what is imagined, a few times a second, at a priority below everything that moves the arm."""

    def __init__(
        self,
        *,
        newest: Callable[[], tuple[ImaginationHalf, Foresight] | None],
        show: Callable[[str, np.ndarray, Foresight], None],
        period_s: float,
        troubles: Troubles,
    ) -> None:
        """``show`` is given the camera, its imagined frames (T height width 3, uint8 RGB) and their foresight."""
        self._newest = newest
        self._show = show
        self._period_s = period_s
        self._shown: Foresight | None = None
        self._thread = TurnThread(self._wait_and_show, name="preview", troubles=troubles, background=True)

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)

    def _wait_and_show(self) -> None:
        newest = None if self._thread.stopping.wait(self._period_s) else self._newest()
        if newest is None or newest[1] is self._shown:
            return
        half, self._shown = newest
        with contextlib.suppress(UnsupportedError):  # a bundle without pictures
            for camera, frames in _drawn(half, self._shown).items():
                self._show(camera, frames, self._shown)


def _drawn(half: ImaginationHalf, foresight: Foresight) -> dict[str, np.ndarray]:
    try:
        return dict(half.imagination.preview(foresight))
    except RuntimeError as error:  # a runtime's own; pictures for people are nothing to end a process for
        raise MolaError(f"bundle {half.bundle_id} cannot show what it imagines: {error}") from error
