"""A dataset's frames at the size of a view, and the rule by which they may be enlarged to it."""

from collections.abc import Sequence

import cv2
import numpy as np

from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.preprocess import view_of
from mola_core.data.errors import DataError
from mola_core.data.sources.protocol import EpisodeSource, Images


def may_enlarge(source: DataContract, wanted: DataContract | None) -> bool:
    """Whether pictures recorded under ``source`` may be enlarged for a model made under ``wanted``.

    The hashes of the contracts decide. Equal: these are the pictures that the rig will show the model, and what a rig's camera may not
    do (:func:`~mola_core.contracts.preprocess.view_of`), its recordings may not either. Different: another robot's cameras, seen by
    the video model and the inverse dynamics models alone; CALVIN's 84 × 84 then become a view of 256 × 256. Where no model is named,
    nothing is enlarged.
    """
    return wanted is not None and source.hash != wanted.hash


class ViewReader:
    """Reads frames of ``source`` at one size. Threads may share it."""

    def __init__(self, source: EpisodeSource, *, width: int, height: int, may_enlarge: bool) -> None:
        self.source, self.width, self.height, self.may_enlarge = source, width, height, may_enlarge

    def views(self, episode: int, camera: str, rows: Sequence[int]) -> Images:
        """The views of ``rows``.

        Raises:
            DataError: a frame that cannot be read or is no picture of the view's size, with the dataset's path, episode and camera.
        """
        try:
            images = self.source.frames(episode, camera, rows)
            return np.stack([self._view(image) for image in images])
        except (ValueError, OSError, cv2.error) as error:  # whatever else a decoder says has its path already
            raise DataError(f"{self.source.path}, episode {episode}, camera {camera}: {error}") from error

    def _view(self, image: np.ndarray) -> np.ndarray:
        return view_of(image, view_width=self.width, view_height=self.height, may_enlarge=self.may_enlarge)
