"""Whether a dataset is what it says: every number, every frame, every stamp."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.io_spec import DataContract
from mola_core.data.lerobot import layout
from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.layout import video_key
from mola_core.data.lerobot.reader import EpisodeEntry, LeRobotReader
from mola_core.data.lerobot.statistics import Stats, column_stats, merge_stats
from mola_core.data.lerobot.tables import column
from mola_core.data.lerobot.video import VideoFile

Progress = Callable[[str], None]
_STATISTICS_TOLERANCE = 1e-5


@dataclass
class Checked:
    """What was looked at, and what is wrong."""

    problems: list[str] = field(default_factory=list)
    episodes: int = 0
    rows: int = 0
    frames: int = 0
    """Decoded, or only counted in their files."""
    largest_frame_age_ms: float = 0.0
    """Of a frame behind its row."""


def check(
    path: Path, *, contract: DataContract | None = None, decode: bool = True, progress: Progress = lambda _line: None
) -> Checked:
    """Look at everything in the dataset; without ``decode``, frames are counted but not decoded.

    Raises:
        DatasetError: the metadata cannot be read at all.
        ContractMismatchError: ``contract`` is given, and is not the dataset's.
    """
    dataset = LeRobotReader(path)
    if contract is not None:
        dataset.contract.require(contract, what=f"dataset {path}", where="what it is wanted for")
    checked = Checked(episodes=len(dataset.episodes), rows=dataset.num_rows)
    checked.problems += _totals(dataset)
    statistics = dataset.episode_stats()
    for entry, stored in zip(dataset.episodes, statistics, strict=True):
        progress(f"rows of episode {entry.index}")
        try:
            checked.problems += _rows(dataset, entry, stored, checked)
        except DatasetError as error:
            checked.problems.append(str(error))
    checked.problems += _global_statistics(dataset, statistics)
    for camera in dataset.spec.cameras:
        progress(f"frames of {camera}")
        checked.problems += _videos(dataset, camera, checked, decode=decode)
    checked.problems += _strangers(dataset)
    return checked


def _totals(dataset: LeRobotReader) -> Iterator[str]:
    info = dataset.info
    said = {
        "total_episodes": len(dataset.episodes),
        "total_frames": dataset.num_rows,
        "total_tasks": len(dataset.tasks),
    }
    said["fps"] = dataset.fps
    for name, want in said.items():
        if info.get(name) != want:
            yield f"meta/info.json says {name} {info.get(name)}, the dataset has {want}"
    features = {name: {key: one[key] for key in ("dtype", "shape", "names")} for name, one in info["features"].items()}
    if features != dataset.spec.features():
        yield "meta/info.json describes other features than its contract and cameras"
    row = 0
    for at, entry in enumerate(dataset.episodes):
        if entry.index != at or entry.first_row != row:
            yield f"meta/episodes lists episode {entry.index} from row {entry.first_row}; episode {at} from row {row} is due"
        if entry.instruction not in dataset.tasks:
            yield f"episode {entry.index}: instruction {entry.instruction!r} is not in meta/tasks.parquet"
        row += entry.length


def _rows(dataset: LeRobotReader, entry: EpisodeEntry, stored: dict[str, Stats], checked: Checked) -> Iterator[str]:
    where = f"{entry.data_path}, episode {entry.index}"
    rows = dataset.rows(entry.index)
    for name, values in ((layout.STATE, rows.state), (layout.ACTION, rows.action)):
        if not np.isfinite(values).all():
            yield f"{where}: {name} of row {int(np.argwhere(~np.isfinite(values))[0][0])} is not finite"
    periods = np.diff(rows.stamp_ns)
    if len(periods) and (periods <= 0).any():
        yield f"{where}: stamp of row {int(np.argmax(periods <= 0)) + 1} does not advance"
    age_ns = rows.stamp_ns[:, None] - rows.frame_stamp_ns
    if (age_ns < 0).any():
        yield f"{where}: a frame of row {int(np.argwhere(age_ns < 0)[0][0])} is later than its row"
    checked.largest_frame_age_ms = max(checked.largest_frame_age_ms, float(age_ns.max()) / NS_PER_MS)
    yield from _indices(dataset, entry, where)
    for name, values in ((layout.STATE, rows.state), (layout.ACTION, rows.action)):
        if name not in stored or not _close(stored[name], column_stats(values)):
            yield f"{where}: the stored statistics of {name} are not those of its rows"


def _indices(dataset: LeRobotReader, entry: EpisodeEntry, where: str) -> Iterator[str]:
    part = dataset.table(entry.index)
    frames = np.arange(entry.length)
    task = dataset.tasks.index(entry.instruction) if entry.instruction in dataset.tasks else -1
    due: dict[str, np.ndarray] = {
        "timestamp": (frames / dataset.fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(entry.length, entry.index),
        "index": entry.first_row + frames,
        "task_index": np.full(entry.length, task),
    }
    for name, want in due.items():
        if not np.array_equal(column(part, name)[:, 0], want):
            yield f"{where}: column {name} is not what LeRobot expects"


def _close(stored: Stats, exact: Stats) -> bool:
    return all(
        np.allclose(np.array(stored[kind], dtype=float), np.array(exact[kind], dtype=float), atol=_STATISTICS_TOLERANCE)
        for kind in exact
    )


def _global_statistics(dataset: LeRobotReader, parts: list[dict[str, Stats]]) -> Iterator[str]:
    for name in dataset.info["features"]:
        if name not in dataset.stats or any(name not in part for part in parts):
            yield f"meta/stats.json or meta/episodes has no statistics of {name}"
        elif not _close(dataset.stats[name], merge_stats([part[name] for part in parts])):
            yield f"meta/stats.json: the statistics of {name} are not those of the episodes together"


def _videos(dataset: LeRobotReader, camera: str, checked: Checked, *, decode: bool) -> Iterator[str]:
    spans: dict[Path, list[EpisodeEntry]] = {}
    for entry in dataset.episodes:
        spans.setdefault(entry.videos[camera].path, []).append(entry)
    width, height = dataset.spec.cameras[camera]
    for path, entries in spans.items():
        want = sum(entry.length for entry in entries)
        at = 0
        for entry in sorted(entries, key=lambda one: one.index):
            if entry.videos[camera].first_frame != at:
                yield f"{path}: episode {entry.index} is said to begin at frame {entry.videos[camera].first_frame}, not {at}"
            at += entry.length
        try:
            with VideoFile(path, fps=dataset.fps) as video:
                if video.num_frames != want:
                    yield f"{path} has {video.num_frames} frames; its episodes have {want} rows"
                if video.size != (width, height):
                    yield f"{path} is {video.size}; {camera} has {width} x {height} pixels"
                yield from video.check_stamps(want) if decode else ()
            checked.frames += want
        except DatasetError as error:
            yield str(error)


def _strangers(dataset: LeRobotReader) -> Iterator[str]:
    """Files that LeRobot would load although no episode needs them."""
    known = {entry.data_path for entry in dataset.episodes}
    known |= {span.path for entry in dataset.episodes for span in entry.videos.values()}
    for path in (*dataset.path.glob("data/*/*"), *dataset.path.glob("videos/*/*/*")):
        if path not in known:
            yield f"{path} belongs to no episode"
    for folder in dataset.path.glob("videos/*"):
        if folder.name not in {video_key(camera) for camera in dataset.spec.cameras}:
            yield f"{folder} belongs to no camera"
