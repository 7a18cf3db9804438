"""Labels on disk: ``labels/<teacher>/info.json`` and a file an episode, each complete or absent, so that extraction may stop anywhere.

A file is safetensors whose tensors are packed bytes (:mod:`.codec`); shapes and types stand in its header.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mola_core.contracts.errors import ConfigError
from mola_core.data.errors import BadFileError, DataError
from mola_core.data.labels.codec import pack, unpack
from mola_core.data.labels.info import LabelInfo

FOLDER = "labels"
INFO = "info.json"
_EPISODES_A_FOLDER = 1000
_INFO: TypeAdapter[LabelInfo] = TypeAdapter(LabelInfo)


def save_arrays(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "rows *shape"]]) -> None:
    """Write ``arrays`` packed, in one move."""
    shapes = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = {name: pack(array) for name, array in arrays.items()}
    save_file(packed, scratch, metadata={"arrays": json.dumps(shapes)})
    scratch.rename(path)


def load_arrays(path: Path) -> dict[str, Shaped[np.ndarray, "rows *shape"]]:
    """Inverse of :func:`save_arrays`.

    Raises:
        BadFileError: missing, truncated or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = json.loads(file.metadata()["arrays"])
            return {
                name: unpack(file.get_tensor(name), dtype=dtype, shape=tuple(shape))
                for name, (dtype, shape) in shapes.items()
            }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, DataError) as error:
        raise BadFileError(path, f"no readable labels ({error})") from error


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """What :func:`load_arrays` would give, by shapes alone: the file's header is read, and held against its length.

    Raises:
        BadFileError: missing, truncated or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            said = json.loads(file.metadata()["arrays"])
        return {name: tuple(shape) for name, (_dtype, shape) in said.items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadFileError(path, f"no readable labels ({error})") from error


def teachers_of(dataset: Path, wanted: Sequence[str]) -> dict[str, str]:
    """The one teacher beside ``dataset`` for each label.

    Raises:
        DataError: there is none for a label, or more than one.
    """
    folders = [LabelFolder(dataset, teacher=path.parent.name) for path in sorted((dataset / FOLDER).glob(f"*/{INFO}"))]
    gives = {folder.teacher: folder.info().labels for folder in folders}
    chosen = {}
    for label in wanted:
        able = [teacher for teacher, labels in gives.items() if label in labels]
        if len(able) != 1:
            there = (
                f"several teachers: {', '.join(able)}; name one"
                if able
                else "no teacher; make labels with: mola data label"
            )
            raise DataError(f"{dataset / FOLDER} has {label} by {there}")
        chosen[label] = able[0]
    return chosen


class LabelFolder:
    """The labels of one teacher beside one dataset."""

    def __init__(self, dataset: Path, *, teacher: str) -> None:
        self.path = dataset / FOLDER / teacher
        self.teacher = teacher

    @property
    def exists(self) -> bool:
        """Whether extraction has at least begun."""
        return (self.path / INFO).is_file()

    def info(self) -> LabelInfo:
        """What the labels are.

        Raises:
            DataError: there are none, or of an unknown format.
        """
        path = self.path / INFO
        if not path.is_file():
            there = [entry.name for entry in sorted(self.path.parent.glob("*")) if (entry / INFO).is_file()]
            raise DataError(
                f"{path} does not exist; labels there are: {', '.join(there) or 'none'}; make them with: mola data label"
            )
        try:
            return _INFO.validate_json(path.read_bytes())
        except ValidationError as error:
            raise BadFileError(path, f"not a description of labels: {error.errors()[0]['msg']}") from error

    def require(self, wanted: Sequence[str], *, num_episodes: int) -> LabelInfo:
        """What the labels are, where they hold all of ``wanted`` for every episode.

        Raises:
            DataError: no such labels, some are missing, or they lack one of ``wanted``.
        """
        info = self.info()
        lacking = set(wanted) - set(info.labels)
        if lacking:
            raise DataError(
                f"{self.path} has no {', '.join(sorted(lacking))}; it has {', '.join(info.labels)}; choose another teacher"
            )
        missing = [episode for episode in range(num_episodes) if not self.has(episode)]
        if missing:
            raise DataError(
                f"{self.path} lacks {len(missing)} of {num_episodes} episodes, the first is {missing[0]}; go on with: mola data label"
            )
        return info

    def begin(self, info: LabelInfo) -> None:
        """Write (or, on resuming, compare) the description.

        Raises:
            ConfigError: labels of another kind, size or model have been begun here.
        """
        if self.exists:
            if self.info() != info:
                raise ConfigError(
                    f"{self.path} holds labels made otherwise ({INFO} differs); delete the folder or repeat the same settings"
                )
            return
        self.path.mkdir(parents=True, exist_ok=True)
        scratch = self.path / f".{INFO}.{os.getpid()}"
        scratch.write_text(info.model_dump_json(indent=1), encoding="utf-8")
        scratch.rename(self.path / INFO)

    def episode_path(self, episode: int) -> Path:
        """File of episode ``episode``."""
        return self.path / f"chunk-{episode // _EPISODES_A_FOLDER:03d}" / f"episode-{episode:06d}.safetensors"

    def has(self, episode: int) -> bool:
        """Whether that episode is labelled."""
        return self.episode_path(episode).is_file()

    def write(self, episode: int, arrays: Mapping[str, Shaped[np.ndarray, "rows *shape"]]) -> None:
        """Store the labels of one episode."""
        save_arrays(self.episode_path(episode), arrays)

    def read(self, episode: int) -> dict[str, Shaped[np.ndarray, "rows *shape"]]:
        """Load them. BadFileError where they are missing or damaged."""
        return load_arrays(self.episode_path(episode))
