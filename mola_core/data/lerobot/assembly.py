"""From staged episodes to the files of a dataset, and those into place in one move."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mola_core.data.lerobot import layout
from mola_core.data.lerobot.layout import DatasetSpec, file_numbers, video_key
from mola_core.data.lerobot.staging import StagedEpisode, sync
from mola_core.data.lerobot.statistics import Stats, column_stats, merge_stats
from mola_core.data.lerobot.tables import column, tasks_table
from mola_core.data.lerobot.video import CODEC, PIXEL_FORMAT, join_clips

_MB = 1024 * 1024
Progress = Callable[[str], None]


@dataclass
class Base:
    """What a dataset holds before the staged episodes are appended; empty for a new one."""

    episodes: int = 0
    rows: int = 0
    tasks: list[str] = field(default_factory=list)
    stats: list[dict[str, Stats]] = field(default_factory=list)
    """Of each episode: column → statistics."""
    data_files: int = 0
    episode_files: int = 0
    video_files: dict[str, int] = field(default_factory=dict)
    """By video key."""


def assemble(
    target: Path,
    spec: DatasetSpec,
    episodes: Sequence[StagedEpisode],
    *,
    base: Base,
    progress: Progress = lambda _line: None,
) -> None:
    """Write the dataset's files into the folder ``target``; with a ``base``, its files lie there already.

    Raises:
        DatasetError: a staged episode is damaged.
    """
    records = [_record(episode, index=base.episodes + at) for at, episode in enumerate(episodes)]
    tasks = list(dict.fromkeys([*base.tasks, *(episode.instruction for episode in episodes)]))
    stats = _write_data(target, spec, episodes, records, base=base, tasks=tasks)
    for camera in spec.cameras:
        progress(f"videos of {camera}")
        _write_videos(target, spec, camera, episodes, records, first_file=base.video_files.get(video_key(camera), 0))
    _write_episodes(target, records, stats, file_index=base.episode_files)
    pq.write_table(tasks_table(tasks), target / layout.TASKS)
    everything = [*base.stats, *stats]
    merged = {name: merge_stats([one[name] for one in everything]) for name in everything[0]}
    _write_json(target / layout.STATS, merged)
    _write_json(
        target / layout.INFO,
        _info(spec, episodes=len(everything), rows=records[-1]["dataset_to_index"], tasks=len(tasks)),
    )
    for path in target.rglob("*"):
        sync(path)


def put_in_place(built: Path, path: Path) -> None:
    """Make ``built`` the dataset at ``path``; one that is there already is replaced, and never missing for longer than a rename."""
    if path.exists():
        old = path.with_name(f"{path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        built.rename(path)
        shutil.rmtree(old)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        built.rename(path)
    sync(path.parent)


def link_files(source: Path, target: Path) -> None:
    """The data, videos and episode tables of ``source`` again in ``target``, without copying their bytes."""
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        if path.is_dir():
            (target / relative).mkdir(parents=True, exist_ok=True)
        elif relative not in (layout.INFO, layout.STATS, layout.TASKS):  # those are written anew
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target / relative)


def _record(episode: StagedEpisode, *, index: int) -> dict[str, Any]:
    return {
        "episode_index": index,
        "tasks": [episode.instruction],
        "length": episode.length,
        layout.META_COLUMN: json.dumps({"key": episode.key} | episode.meta, sort_keys=True, allow_nan=False),
    }


def _write_data(
    target: Path,
    spec: DatasetSpec,
    episodes: Sequence[StagedEpisode],
    records: list[dict[str, Any]],
    *,
    base: Base,
    tasks: Sequence[str],
) -> list[dict[str, Stats]]:
    """The rows of all episodes, a row group each; their statistics."""
    stats = []
    first_row, file_index = base.rows, base.data_files
    writer: pq.ParquetWriter | None = None
    for episode, record in zip(episodes, records, strict=True):
        table = _with_indices(episode, spec, record, first_row=first_row, task=tasks.index(episode.instruction))
        path = target / layout.DATA.format(**_numbers(file_index))
        if writer is not None and path.stat().st_size > layout.DATA_FILE_MB * _MB:
            writer.close()
            writer, file_index = None, file_index + 1
            path = target / layout.DATA.format(**_numbers(file_index))
        if writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=episode.length)
        chunk, file = file_numbers(file_index)
        record |= {"data/chunk_index": chunk, "data/file_index": file}
        record |= {"dataset_from_index": first_row, "dataset_to_index": first_row + episode.length}
        first_row += episode.length
        images = {video_key(name): one for name, one in episode.image_stats.items()}
        stats.append({name: column_stats(column(table, name)) for name in table.column_names} | images)
    if writer is not None:
        writer.close()
    return stats


def _with_indices(
    episode: StagedEpisode, spec: DatasetSpec, record: Mapping[str, Any], *, first_row: int, task: int
) -> pa.Table:
    """The episode's rows with the columns that every LeRobot dataset has."""
    frames = np.arange(episode.length)
    table = episode.rows()
    for name, values in {
        "timestamp": (frames / spec.fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(episode.length, record["episode_index"]),
        "index": first_row + frames,
        "task_index": np.full(episode.length, task),
    }.items():
        table = table.append_column(name, pa.array(values))
    return table


def _write_videos(
    target: Path,
    spec: DatasetSpec,
    camera: str,
    episodes: Sequence[StagedEpisode],
    records: list[dict[str, Any]],
    *,
    first_file: int,
) -> None:
    key = video_key(camera)
    for offset, members in enumerate(_video_files(spec, camera, episodes)):
        chunk, file = file_numbers(first_file + offset)
        path = target / layout.VIDEO.format(video_key=key, chunk_index=chunk, file_index=file)
        chosen = [episodes[at] for at in members]
        join_clips([one.clip(camera) for one in chosen], [one.length for one in chosen], path, fps=spec.fps)
        rows = 0
        for at in members:
            records[at] |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": rows / spec.fps,
                f"videos/{key}/to_timestamp": (rows + episodes[at].length) / spec.fps,
            }
            rows += episodes[at].length


def _video_files(spec: DatasetSpec, camera: str, episodes: Sequence[StagedEpisode]) -> Iterator[list[int]]:
    """Which episodes share a file: as many as fit into its size and length."""
    members: list[int] = []
    size = rows = 0
    for at, episode in enumerate(episodes):
        clip = episode.clip(camera).stat().st_size
        full = size + clip > layout.VIDEO_FILE_MB * _MB or rows + episode.length > layout.VIDEO_FILE_S * spec.fps
        if members and full:
            yield members
            members, size, rows = [], 0, 0
        members.append(at)
        size, rows = size + clip, rows + episode.length
    if members:
        yield members


def _write_episodes(
    target: Path, records: list[dict[str, Any]], stats: list[dict[str, Stats]], *, file_index: int
) -> None:
    chunk, file = file_numbers(file_index)
    rows = [
        record
        | {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        | {f"stats/{name}/{kind}": value for name, kinds in one.items() for kind, value in kinds.items()}
        for record, one in zip(records, stats, strict=True)
    ]
    path = target / layout.EPISODES.format(**_numbers(file_index))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _numbers(index: int) -> dict[str, int]:
    chunk, file = file_numbers(index)
    return {"chunk_index": chunk, "file_index": file}


def _info(spec: DatasetSpec, *, episodes: int, rows: int, tasks: int) -> dict[str, Any]:
    features = spec.features()
    for name, (width, height) in spec.cameras.items():
        features[video_key(name)]["info"] = {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": PIXEL_FORMAT,
            "video.is_depth_map": False,
            "video.fps": spec.fps,
            "video.channels": 3,
            "has_audio": False,
        }
    return {
        "codebase_version": layout.CODEBASE_VERSION,
        "robot_type": spec.contract.robot,
        "total_episodes": episodes,
        "total_frames": rows,
        "total_tasks": tasks,
        "chunks_size": layout.CHUNK_FILES,
        "data_files_size_in_mb": layout.DATA_FILE_MB,
        "video_files_size_in_mb": layout.VIDEO_FILE_MB,
        "fps": spec.fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": layout.DATA,
        "video_path": layout.VIDEO,
        "features": features,
        "mola": spec.as_json()
        | {"dataset_version": layout.DATASET_VERSION, "mola_core": version("mola-core"), "encoder": CODEC},
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False), encoding="utf-8")
