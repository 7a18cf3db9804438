"""The first frame of an episode over the live view: where they differ, something stands elsewhere than it did."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mola_core.contracts.errors import MolaError

Image = UInt8[np.ndarray, "height width 3"]


class OverlayError(MolaError):
    """The frame to lay over the view cannot be had."""

    exit_code = 2


def first_frame(path: Path, *, camera: str) -> Image:
    """RGB of a PNG, or of the first frame of ``camera`` in the episode at ``path``.

    Raises:
        OverlayError: there is no such file or episode, or no frame of that camera in it.
        MolaError: the episode cannot be read.
    """
    if path.is_dir():
        return _of_episode(path, camera=camera)
    if not path.exists():
        raise OverlayError(f"{path} does not exist; give a PNG or the folder of an episode")
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OverlayError(f"{path} is no image; give a PNG or the folder of an episode")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def blended(view: Image, frame: Image) -> Image:
    """Half the live view, half the frame, of the view's size."""
    height, width = view.shape[:2]
    if frame.shape != view.shape:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.addWeighted(view, 0.5, frame, 0.5, 0.0))


def write_png(path: Path, image: Image) -> None:
    """Write RGB pixels.

    Raises:
        OverlayError: the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise OverlayError(f"{path} must end in .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    except OSError as error:
        raise OverlayError(f"{path} cannot be written ({error.strerror})") from error


def _of_episode(path: Path, *, camera: str) -> Image:
    from mola_core.data.episodes.reader import EpisodeReader  # noqa: PLC0415 (a PNG needs no bag reader)

    with EpisodeReader(path) as episode:
        for frame in episode.frames(camera):
            return np.array(frame.color)
    raise OverlayError(f"the episode {path} has no frame of {camera!r}")
