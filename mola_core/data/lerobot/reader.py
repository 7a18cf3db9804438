"""Reads a dataset: its episodes, their rows as arrays, and decoded frames by episode and row."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from mola_core.contracts.io_spec import DataContract
from mola_core.data.lerobot import layout
from mola_core.data.lerobot.assembly import Base
from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.layout import DatasetSpec, video_key
from mola_core.data.lerobot.statistics import QUANTILES, Stats
from mola_core.data.lerobot.tables import column
from mola_core.data.lerobot.video import Image, Images, VideoFile

_OPEN_FILES = 8
_STATISTICS = ("min", "max", "mean", "std", "count", *QUANTILES)


@dataclass(frozen=True)
class VideoSpan:
    """Where the frames of an episode lie."""

    path: Path
    first_frame: int
    """Of the episode, in the file."""


@dataclass(frozen=True)
class EpisodeEntry:
    """One episode of a dataset."""

    index: int
    length: int
    """Rows."""
    instruction: str
    meta: dict[str, Any]
    """What its writer noted: ``key``, and for recorded ones ``episode_id``, ``outcome``, ``task`` …"""
    first_row: int
    """Of the episode, in the dataset."""
    data_path: Path
    videos: dict[str, VideoSpan]
    """By camera."""


@dataclass(frozen=True)
class EpisodeRows:
    """The numbers of an episode."""

    state: Float[np.ndarray, "rows state"]
    action: Float[np.ndarray, "rows action"]
    stamp_ns: Int[np.ndarray, "rows"]
    frame_stamp_ns: Int[np.ndarray, "rows cameras"]
    intervention: Bool[np.ndarray, "rows"]
    """Where a person had taken over from a policy."""


class _OpenFiles(threading.local):
    """What one thread of one process has open: decoders and offsets in files cannot be shared."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.data: OrderedDict[Path, pa.Table] = OrderedDict()
        self.videos: OrderedDict[Path, VideoFile] = OrderedDict()


class LeRobotReader:
    """A dataset opened for reading. Threads and processes may share it; each opens its own files."""

    def __init__(self, path: Path) -> None:
        """Read the metadata; rows and videos are opened when asked for.

        Raises:
            DatasetError: missing, of another format or version, or damaged; names the file.
        """
        self.path = path
        _refuse_missing(path)
        self.info = _read_json(path / layout.INFO)
        self.spec = _spec(self.info, path / layout.INFO)
        self.stats: dict[str, Stats] = _read_json(path / layout.STATS)
        self.tasks = _tasks(path / layout.TASKS)
        self._table = _episode_table(path)
        self.episodes = _entries(path, self.spec, self._table)
        self._open = _OpenFiles()

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.path,)

    @property
    def contract(self) -> DataContract:
        """What the rows mean."""
        return self.spec.contract

    @property
    def fps(self) -> int:
        """Rows a second."""
        return self.spec.fps

    @property
    def num_rows(self) -> int:
        """Of all episodes."""
        return sum(episode.length for episode in self.episodes)

    def episode(self, index: int) -> EpisodeEntry:
        """Episode ``index``; DatasetError where there is none."""
        if not 0 <= index < len(self.episodes):
            raise DatasetError(f"{self.path} has episodes 0..{len(self.episodes) - 1}, there is no episode {index}")
        return self.episodes[index]

    def rows(self, episode: int) -> EpisodeRows:
        """All numbers of an episode.

        Raises:
            DatasetError: the data file is missing, damaged, or lacks rows.
        """
        part = self.table(episode)
        return EpisodeRows(
            state=column(part, layout.STATE),
            action=column(part, layout.ACTION),
            stamp_ns=column(part, layout.STAMP)[:, 0],
            frame_stamp_ns=column(part, layout.FRAME_STAMPS),
            intervention=column(part, layout.INTERVENTION)[:, 0].astype(bool),
        )

    def table(self, episode: int) -> pa.Table:
        """The rows of an episode with every column.

        Raises:
            DatasetError: the data file is missing, damaged, or lacks rows.
        """
        entry = self.episode(episode)
        table = self._data_table(entry.data_path)
        first = int(table.column("index")[0].as_py())
        part = table.slice(entry.first_row - first, entry.length)
        if entry.first_row < first or part.num_rows != entry.length:
            raise DatasetError(
                f"{entry.data_path} lacks rows of episode {episode}: it has {part.num_rows} of {entry.length}"
            )
        return part

    def _data_table(self, path: Path) -> pa.Table:
        tables = self._files().data
        if path not in tables:
            tables[path] = read_table(path)
            if len(tables) > _OPEN_FILES:
                tables.popitem(last=False)
        return tables[path]

    def frame(self, episode: int, camera: str, row: int) -> Image:
        """One decoded frame, RGB; cheap in ascending order of rows.

        Raises:
            DatasetError: no such camera or row, or the video is missing, truncated or damaged.
        """
        entry = self.episode(episode)
        if camera not in entry.videos:
            raise DatasetError(f"{self.path} has cameras {self.contract.cameras}, not {camera!r}")
        if not 0 <= row < entry.length:
            raise DatasetError(
                f"episode {episode} of {self.path} has rows 0..{entry.length - 1}, there is no row {row}"
            )
        span = entry.videos[camera]
        return self._video(span.path).frame(span.first_frame + row)

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        """Decoded frames of ``rows`` (all by default), in their order."""
        wanted = range(self.episode(episode).length) if rows is None else rows
        decoded = {row: self.frame(episode, camera, row) for row in sorted(set(wanted))}
        return np.stack([decoded[row] for row in wanted])

    def _video(self, path: Path) -> VideoFile:
        videos = self._files().videos
        if path not in videos:
            videos[path] = VideoFile(path, fps=self.fps)
            if len(videos) > _OPEN_FILES:
                videos.popitem(last=False)[1].close()
        videos.move_to_end(path)
        return videos[path]

    def _files(self) -> _OpenFiles:
        if self._open.process != os.getpid():  # forked since: an offset in a file is shared with our parent
            self._open = _OpenFiles()
        return self._open

    def as_base(self) -> Base:
        """What a writer that appends has to know."""
        return Base(
            episodes=len(self.episodes),
            rows=self.num_rows,
            tasks=list(self.tasks),
            stats=episode_stats(self._table),
            data_files=len(list(self.path.glob("data/*/*.parquet"))),
            episode_files=len(list(self.path.glob("meta/episodes/*/*.parquet"))),
            video_files={
                video_key(name): len(list(self.path.glob(f"videos/{video_key(name)}/*/*.mp4")))
                for name in self.spec.cameras
            },
        )

    def episode_stats(self) -> list[dict[str, Stats]]:
        """Of each episode: column → statistics."""
        return episode_stats(self._table)

    def close(self) -> None:
        """Close the videos that this thread has open; the reader may be used on."""
        videos = self._files().videos
        for video in videos.values():
            video.close()
        videos.clear()


def read_table(path: Path) -> pa.Table:
    """A parquet file; DatasetError names it where it is missing or damaged."""
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {_first_line(error)}") from error


def episode_stats(table: pa.Table) -> list[dict[str, Stats]]:
    """The statistics among the columns of an episode table."""
    names = [name.split("/")[1:] for name in table.column_names if name.startswith("stats/")]
    rows = table.select([f"stats/{feature}/{kind}" for feature, kind in names]).to_pylist()
    return [
        {
            feature: {kind: row[f"stats/{feature}/{kind}"] for kind in _STATISTICS}
            for feature in {name for name, _ in names}
        }
        for row in rows
    ]


def _refuse_missing(path: Path) -> None:
    if path.is_dir():
        return
    old = path.with_name(f"{path.name}.old")
    if old.is_dir():
        raise DatasetError(
            f"{path} is missing: appending to it was cut off; rename {old} to {path.name} and append again"
        )
    raise DatasetError(f"there is no dataset {path}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {_first_line(error)}") from error
    return content


def _spec(info: dict[str, Any], path: Path) -> DatasetSpec:
    if info.get("codebase_version") != layout.CODEBASE_VERSION:
        raise DatasetError(
            f"{path} is of LeRobot {info.get('codebase_version')}; only {layout.CODEBASE_VERSION} is read"
        )
    ours = info.get("mola")
    if not isinstance(ours, dict) or ours.get("dataset_version") != layout.DATASET_VERSION:
        raise DatasetError(
            f"{path} carries no data contract of version {layout.DATASET_VERSION}; convert the recording again"
        )
    try:
        contract = DataContract.model_validate(ours["contract"])
        cameras = {name: (int(width), int(height)) for name, (width, height) in ours["cameras"].items()}
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: the data contract is damaged: {_first_line(error)}") from error
    if contract.hash != ours.get("contract_hash"):
        raise DatasetError(
            f"{path}: contract hash {ours.get('contract_hash')} does not belong to its contract ({contract.hash})"
        )
    return DatasetSpec(contract=contract, cameras=cameras)


def _tasks(path: Path) -> list[str]:
    rows = read_table(path).to_pylist()
    return [row["task"] for row in sorted(rows, key=lambda row: int(row["task_index"]))]


def _episode_table(path: Path) -> pa.Table:
    files = sorted(path.glob("meta/episodes/*/*.parquet"))
    if not files:
        raise DatasetError(f"{path}/meta/episodes holds no table")
    return pa.concat_tables([read_table(file) for file in files], promote_options="default")


def _entries(path: Path, spec: DatasetSpec, table: pa.Table) -> list[EpisodeEntry]:
    try:
        names = [name for name in table.column_names if not name.startswith("stats/")]
        return [_entry(path, spec, row) for row in table.select(names).to_pylist()]
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}/meta/episodes lacks or garbles {_first_line(error)}") from error


def _entry(path: Path, spec: DatasetSpec, row: dict[str, Any]) -> EpisodeEntry:
    videos = {}
    for name in spec.cameras:
        key = video_key(name)
        chunk, file = row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]
        videos[name] = VideoSpan(
            path=path / layout.VIDEO.format(video_key=key, chunk_index=chunk, file_index=file),
            first_frame=round(row[f"videos/{key}/from_timestamp"] * spec.fps),
        )
    return EpisodeEntry(
        index=row["episode_index"],
        length=row["length"],
        instruction=row["tasks"][0],
        meta=json.loads(row[layout.META_COLUMN]),
        first_row=row["dataset_from_index"],
        data_path=path / layout.DATA.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]),
        videos=videos,
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
