"""A teacher over a whole dataset: what is labelled is left alone, so that a run may stop anywhere and several may share the work."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.preprocess import centre_crop_box
from mola_core.data.errors import DataError
from mola_core.data.labels.store import LabelFolder
from mola_core.data.sources.protocol import EpisodeSource
from mola_core.teachers.protocol import EpisodeToLabel, Teacher, Views


@dataclass(frozen=True, slots=True)
class Part:
    """The ``number``-th of ``count`` equal parts of the work."""

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ConfigError(
                f"part {self.number}/{self.count} does not exist; parts are 0/{self.count} to {self.count - 1}/{self.count}"
            )


def episodes_left(source: EpisodeSource, folder: LabelFolder, part: Part) -> list[int]:
    """Episodes of ``part`` without labels."""
    return [episode for episode in range(part.number, len(source.episodes), part.count) if not folder.has(episode)]


def label_dataset(
    source: EpisodeSource,
    teacher: Teacher,
    *,
    view: tuple[int, int],
    part: Part = Part(),  # frozen
    progress: Callable[[int], None] = lambda _episode: None,
) -> int:
    """Label what is left of ``part``; how many episodes that were.

    Raises:
        ConfigError: labels made otherwise are there already.
        DataError: an episode cannot be read, or the teacher's answer does not fit it.
    """
    folder = LabelFolder(source.path, teacher=teacher.name)
    folder.begin(teacher.info())
    left = episodes_left(source, folder, part)
    for episode in left:
        header = source.episodes[episode]
        arrays = teacher.label(
            EpisodeToLabel(
                index=episode,
                num_rows=header.length,
                instruction=header.instruction,
                meta=header.meta,
                views=lambda camera, episode=episode: _cropped(source.frames(episode, camera), view),  # type: ignore[misc]
                state=lambda episode=episode: source.numbers(episode).state,  # type: ignore[misc]
            )
        )
        for name, array in arrays.items():
            if len(array) != header.length:
                raise DataError(
                    f"teacher {teacher.name} gave {len(array)} rows of {name} for episode {episode} of {header.length}"
                )
        folder.write(episode, arrays)
        progress(episode)
    return len(left)


def _cropped(frames: Views, view: tuple[int, int]) -> Views:
    """The part of the frames that a view of ``view``'s aspect shows, at full resolution."""
    left, top, width, height = centre_crop_box(
        width=frames.shape[2], height=frames.shape[1], view_width=view[0], view_height=view[1]
    )
    return np.ascontiguousarray(frames[:, top : top + height, left : left + width])
