"""What a teacher is: it looks at an episode and says, pixel by pixel, what it knows. Its labels are stored beside the dataset.

Picture models learn of an episode by its frames alone; a simulator's teacher by what the dataset notes of it. Both are entry points of
the group ``mola.teachers``: functions from :class:`TeacherSettings` to a :class:`Teacher`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Shaped, UInt8

from mola_core.contracts.errors import ConfigError, MolaError
from mola_core.data.labels.info import LabelInfo

GROUP = "mola.teachers"
Views = UInt8[np.ndarray, "R height width 3"]


class TeacherError(MolaError):
    """A teacher cannot be had: its package or its weights are missing, or the dataset is none that it knows."""

    exit_code = 2


@dataclass(frozen=True)
class TeacherSettings:
    """What a teacher is opened with."""

    dataset: Path
    cameras: tuple[str, ...]
    view: tuple[int, int]
    """(width, height) of the views that models will see: labels have their aspect."""
    stride: int
    """A label has one cell for so many pixels of the view, each way."""
    weights: str | None = None
    """Path or name of a picture model's weights."""
    device: str = "cpu"
    batch: int = 8
    """Frames at once."""
    flow_offsets: tuple[int, ...] = ()
    """Rows over which a picture model labels motion."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the label maps."""
        return self.view[0] // self.stride, self.view[1] // self.stride


@dataclass(frozen=True)
class EpisodeToLabel:
    """One episode of a dataset."""

    index: int
    num_rows: int
    instruction: str
    meta: Mapping[str, Any]
    """What the dataset notes of it."""
    views: Callable[[str], Views]
    """All frames of a camera, cropped to the aspect of the view but not scaled down."""
    state: Callable[[], Shaped[np.ndarray, "R S"]]


class Teacher(Protocol):
    """A source of labels."""

    @property
    def name(self) -> str:
        """Of the folder that its labels go to."""
        ...

    def info(self) -> LabelInfo:
        """What its labels are."""
        ...

    def label(self, episode: EpisodeToLabel) -> Mapping[str, Shaped[np.ndarray, "R *shape"]]:
        """All arrays of one episode, as :meth:`info` describes them."""
        ...


def teacher_names() -> Sequence[str]:
    """Teachers that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def open_teacher(name: str, settings: TeacherSettings) -> Teacher:
    """The teacher called ``name``.

    Raises:
        ConfigError: there is no such teacher.
        TeacherError: its package or weights are missing.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            opener: Callable[[TeacherSettings], Teacher] = entry.load()
            return opener(settings)
    raise ConfigError(f"there is no teacher {name!r}; there are {', '.join(teacher_names())}")
