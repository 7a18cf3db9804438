"""A short video of all cameras side by side, with a caption."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from jaxtyping import UInt8

from mola_core.contracts.errors import MolaError

_CAPTION_HEIGHT = 28
_CAPTION_COLOR = (235, 235, 235)

Rgb = UInt8[np.ndarray, "height width 3"]


def labelled(picture: Rgb, label: str) -> Rgb:
    """A copy with a few words in its upper left corner, legible on any background."""
    marked = np.ascontiguousarray(picture.copy())
    for color, place in (((0, 0, 0), (7, 15)), (_CAPTION_COLOR, (6, 14))):
        cv2.putText(marked, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1, cv2.LINE_AA)
    return marked


class SideBySideVideo:
    """Writes an MP4 of fixed rate; the cameras stand side by side in the order of the first picture.

    A camera that has delivered nothing yet is black; one that has fallen silent keeps its last picture, as a person
    watching would see it.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, pictures: Mapping[str, Rgb], *, caption: str, below: Rgb | None = None) -> None:
        """Append one frame: the newest RGB picture of each camera, all of one height; ``below`` is as wide as all of them."""
        strip = np.hstack([labelled(picture, role.replace("_", " ")) for role, picture in pictures.items()])
        bar = np.zeros((_CAPTION_HEIGHT, strip.shape[1], 3), dtype=np.uint8)
        cv2.putText(bar, caption, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _CAPTION_COLOR, 1, cv2.LINE_AA)
        rows = [bar, strip] if below is None else [bar, strip, below]
        frame = np.ascontiguousarray(np.vstack(rows)[:, :, ::-1])
        height, width = frame.shape[:2]
        if self._writer is None:
            self._open(width=width, height=height)
        if (width, height) != self._size or self._writer is None:
            raise MolaError(
                f"the video is {self._size}, a frame of {(width, height)} does not fit; cameras changed size"
            )
        self._writer.write(frame)

    def _open(self, *, width: int, height: int) -> None:
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._path), fourcc, self._fps, (width, height))
        if not writer.isOpened():
            raise MolaError(f"video {self._path} cannot be written; is the folder writable?")
        self._writer, self._size = writer, (width, height)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
