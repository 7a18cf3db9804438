"""Episodes on their way into a dataset: each a folder of its own, complete or not there at all.

Several processes may stage episodes of one dataset side by side; a process that dies leaves nothing but a hidden folder, which
the next one sweeps away.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError
from jaxtyping import Bool, Float, Int

from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.layout import ACTION, FRAME_STAMPS, INTERVENTION, STAMP, STATE, DatasetSpec
from mola_core.data.lerobot.statistics import ImageStats, Stats
from mola_core.data.lerobot.video import ClipWriter, Image

ROWS_FILE = "rows.parquet"
EPISODE_FILE = "episode.json"


@dataclass(frozen=True)
class StagedEpisode:
    """One complete episode in the staging folder."""

    folder: Path
    key: str
    length: int
    instruction: str
    meta: dict[str, Any]
    image_stats: dict[str, Stats]

    def clip(self, camera: str) -> Path:
        """The camera's video."""
        return self.folder / f"{camera}.mp4"

    def rows(self) -> pa.Table:
        """State, action, stamps and intervention of each row."""
        return pq.read_table(self.folder / ROWS_FILE)


def read_staged(folder: Path) -> StagedEpisode:
    """The staged episode in ``folder``; DatasetError where its description is unreadable."""
    path = folder / EPISODE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return StagedEpisode(folder=folder, **content)
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}; delete {folder} and write that episode again") from error


class EpisodeStage:
    """Writes one episode, row by row; call :meth:`finish` or :meth:`discard`."""

    def __init__(self, staging: Path, spec: DatasetSpec, *, key: str) -> None:
        self._spec = spec
        self._key = key
        self._folder = staging / key
        if self._folder.exists():
            raise DatasetError(f"episode {key!r} is staged already in {staging}")
        self._scratch = staging / f".{key}.{os.getpid()}"
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        self._clips = {
            name: ClipWriter(self._scratch / f"{name}.mp4", width=width, height=height, fps=spec.fps)
            for name, (width, height) in spec.cameras.items()
        }
        self._image_stats = {name: ImageStats() for name in spec.cameras}
        self._states: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._stamps: list[int] = []
        self._frame_stamps: list[list[int]] = []
        self._interventions: list[bool] = []

    @property
    def num_rows(self) -> int:
        """Rows so far."""
        return len(self._states)

    def add_row(
        self,
        *,
        state: Float[np.ndarray, "state"],
        action: Float[np.ndarray, "action"],
        images: Mapping[str, Image],
        stamp_ns: int | None = None,
        frame_stamps_ns: Mapping[str, int] | None = None,
        intervention: bool = False,
    ) -> None:
        """Append a row; without stamps, rows lie on the contract's period from 0 and frames on their rows.

        Raises:
            DatasetError: a shape, a type or a camera is not the contract's, or a number is not finite. Nothing was appended.
        """
        row = self.num_rows
        checked_state = self._numbers(STATE, state, self._spec.contract.state)
        checked_action = self._numbers(ACTION, action, self._spec.contract.action)
        self._check_images(images)
        stamp = row * self._spec.contract.period_ns if stamp_ns is None else stamp_ns
        if self._stamps and stamp <= self._stamps[-1]:
            raise DatasetError(
                f"row {row} of episode {self._key!r} has stamp {stamp}, not later than {self._stamps[-1]} before it"
            )
        seen = frame_stamps_ns or {}
        for name in self._spec.cameras:
            self._clips[name].add(images[name])
            self._image_stats[name].add(images[name])
        self._states.append(checked_state)
        self._actions.append(checked_action)
        self._stamps.append(stamp)
        self._frame_stamps.append([seen.get(name, stamp) for name in self._spec.cameras])
        self._interventions.append(intervention)

    def _numbers(self, column: str, values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        where = f"row {self.num_rows} of episode {self._key!r}"
        array = np.asarray(values)
        if array.shape != (len(names),) or array.dtype.kind != "f":
            raise DatasetError(
                f"{column} of {where} is {array.dtype}{list(array.shape)}; the contract wants {len(names)} floats"
            )
        if not np.isfinite(array).all():
            at = int(np.flatnonzero(~np.isfinite(array))[0])
            raise DatasetError(f"{column} of {where} has {names[at]} = {array[at]}")
        return array.astype(np.float32)

    def _check_images(self, images: Mapping[str, Image]) -> None:
        where = f"row {self.num_rows} of episode {self._key!r}"
        if set(images) != set(self._spec.cameras):
            raise DatasetError(f"{where} has images of {sorted(images)}; the dataset has {sorted(self._spec.cameras)}")
        for name, (width, height) in self._spec.cameras.items():
            image = images[name]
            if image.shape != (height, width, 3) or image.dtype != np.uint8:
                raise DatasetError(
                    f"{where}: camera {name} gives {image.dtype}{list(image.shape)}; the dataset holds uint8[{height}, {width}, 3]"
                )

    def finish(self, instruction: str, meta: Mapping[str, Any]) -> StagedEpisode:
        """Put the episode in place, on disk, in one move.

        Raises:
            DatasetError: no rows, or no instruction; the episode is still open.
        """
        if not self._states:
            raise DatasetError(f"episode {self._key!r} has no rows")
        if not instruction.strip():
            raise DatasetError(f"episode {self._key!r} has no instruction")
        for clip in self._clips.values():
            clip.close()
        pq.write_table(self._table(), self._scratch / ROWS_FILE)
        content: dict[str, Any] = {
            "key": self._key,
            "length": self.num_rows,
            "instruction": instruction,
            "meta": dict(meta),
            "image_stats": {name: stats.result() for name, stats in self._image_stats.items()},
        }
        (self._scratch / EPISODE_FILE).write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
        for path in self._scratch.iterdir():
            sync(path)
        self._scratch.rename(self._folder)
        sync(self._folder.parent)
        return StagedEpisode(folder=self._folder, **content)

    def _table(self) -> pa.Table:
        return pa.table(
            {
                STATE: vectors(np.stack(self._states)),
                ACTION: vectors(np.stack(self._actions)),
                STAMP: pa.array(self._stamps, pa.int64()),
                FRAME_STAMPS: vectors(np.array(self._frame_stamps, dtype=np.int64)),
                INTERVENTION: pa.array(self._interventions, pa.bool_()),
            }
        )

    def discard(self) -> None:
        """Forget the episode; safe to call twice, and on a disk that is full."""
        for clip in self._clips.values():
            with contextlib.suppress(OSError, FFmpegError):
                clip.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def vectors(
    values: Float[np.ndarray, "rows width"] | Int[np.ndarray, "rows width"] | Bool[np.ndarray, "rows width"],
) -> pa.Array:
    """A column of fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def sync(path: Path) -> None:
    """Make what was written to a file or folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
