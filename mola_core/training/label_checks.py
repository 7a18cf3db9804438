"""Labels that stages will learn from, looked at before the first stage begins: are they all there, and of the kind that is learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mola_core.contracts.errors import ConfigError
from mola_core.data.errors import BadFileError, DataError
from mola_core.data.labels.info import LabelInfo, MapsInfo
from mola_core.data.labels.store import LabelFolder, array_shapes, teachers_of
from mola_core.data.sources.protocol import EpisodeSource
from mola_core.nets.config import MixtureConfig
from mola_core.training.cell_reader import require_class_labels
from mola_core.training.recipe import MixturePart


@dataclass(frozen=True)
class Labels:
    """The labels of one dataset."""

    dataset: str
    path: Path
    infos: dict[str, LabelInfo]
    """By label."""


def require_labels(
    part: MixturePart, source: EpisodeSource, wanted: Sequence[str], *, cameras: Sequence[str]
) -> Labels:
    """Labels ``wanted`` of every row of ``source``, from the teachers of ``part``; their files are opened, and not unpacked.

    Raises:
        ConfigError: a label for which no teacher is named.
        DataError: a camera is missing, or there is no such teacher, or an episode without labels, with a damaged file of them, or with
            labels of another number of rows.
    """
    absent = [camera for camera in cameras if camera not in source.contract.cameras]
    if wanted and absent:
        raise DataError(
            f"{source.path} has only the cameras {source.contract.cameras}; labels of {', '.join(absent)} are wanted: leave the "
            "dataset out, or choose what is labelled"
        )
    teachers = teachers_of(source.path, wanted) if part.teachers is None else part.teachers
    infos: dict[str, LabelInfo] = {}
    for label in wanted:
        if label not in teachers:
            raise ConfigError(f"dataset {part.dataset} names no teacher of {label}; say it in its teachers")
    for teacher in dict.fromkeys(teachers[label] for label in wanted):
        folder = LabelFolder(source.path, teacher=teacher)
        mine = [label for label in wanted if teachers[label] == teacher]
        infos |= dict.fromkeys(mine, folder.require(mine, num_episodes=len(source.episodes)))
        _require_rows(folder, source)
    return Labels(dataset=part.dataset, path=source.path, infos=infos)


def _require_rows(folder: LabelFolder, source: EpisodeSource) -> None:
    """Refuse a damaged file, and labels of more or fewer rows than an episode has."""
    for episode, header in enumerate(source.episodes):
        path = folder.episode_path(episode)
        shapes = array_shapes(path)
        wrong = [name for name, shape in shapes.items() if not shape or shape[0] != header.length]
        if not shapes or wrong:
            what = f"{wrong[0]} has shape {list(shapes[wrong[0]])}" if wrong else "nothing is in it"
            raise BadFileError(
                path, f"{what}, the episode has {header.length} rows; delete the file and run: mola data label"
            )


def require_drawable(labels: Labels, mixture: MixtureConfig) -> None:
    """Refuse semantic labels that the decoders of stage II cannot draw.

    Raises:
        ConfigError: classes where features are to be drawn, or the other way round, or features of another width.
    """
    info = labels.infos.get("semantic")
    if info is None:
        return
    decoder = mixture.decoders.modalities["semantic"]
    where = f"dataset {labels.dataset}: its semantic labels by {info.teacher}"
    if isinstance(info, MapsInfo) == (decoder.loss == "classes"):
        are = "a picture model's features" if isinstance(info, MapsInfo) else "classes"
        better = "l2" if isinstance(info, MapsInfo) else "classes"
        raise ConfigError(
            f"{where} are {are}; the recipe draws them with the loss {decoder.loss}: set "
            f"model.mixture.decoders.modalities.semantic.loss={better} and its channels, or label anew"
        )
    if isinstance(info, MapsInfo):
        shapes = array_shapes(LabelFolder(labels.path, teacher=info.teacher).episode_path(0))
        widths = {shape[-1] for name, shape in shapes.items() if name.startswith("semantic/")}
        if widths != {decoder.channels}:
            raise ConfigError(
                f"{where} have {', '.join(map(str, sorted(widths)))} numbers a place, the recipe draws {decoder.channels}: set "
                f"model.mixture.decoders.modalities.semantic.channels={min(widths, default=decoder.channels)}"
            )


def require_flow(labels: Labels, *, offsets: Sequence[int]) -> None:
    """Refuse flow over other rows than the window's ``offsets`` (without the present), in rows of the dataset.

    Raises:
        DataError: saying which to label.
    """
    info = labels.infos.get("flow")
    if isinstance(info, MapsInfo) and not set(offsets) <= set(info.flow_offsets):
        lacking = np.setdiff1d(offsets, info.flow_offsets).tolist()
        raise DataError(
            f"dataset {labels.dataset}: {info.teacher} labelled the flow over {info.flow_offsets} rows, {lacking} are wanted too; "
            f"label anew with: mola data label --offsets {','.join(str(offset) for offset in offsets)}"
        )


def require_sayable(labels: Labels) -> None:
    """Refuse labels that a reader's cells cannot say.

    Raises:
        ConfigError: a picture model's features, or a class number that is too large.
    """
    for label, info in labels.infos.items():
        require_class_labels(label, info, name=labels.dataset)
