"""Names, paths and columns of the LeRobot v3.0 format, and what this project adds to them.

Source: LeRobot's own dataset code, version 0.4.4 (``codebase_version`` v3.0). ``info.json`` carries one key more, ``mola``, which
LeRobot passes over: the data contract, its hash, and the versions that wrote the dataset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.io_spec import DataContract
from mola_core.data.lerobot.errors import DatasetError

CODEBASE_VERSION = "v3.0"
DATASET_VERSION = 1
"""Of what this project adds; counts up when a reader of the older one would go wrong."""

CHUNK_FILES = 1000
"""Files in a ``chunk-XXX`` folder."""
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200
VIDEO_FILE_S = 900.0
"""Length at which a new video file is begun, whatever its size: LeRobot looks frames up by float32 seconds to 0.1 ms, and float32
no longer resolves that beyond 1024 s."""

INFO = Path("meta/info.json")
STATS = Path("meta/stats.json")
TASKS = Path("meta/tasks.parquet")
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

STATE = "observation.state"
ACTION = "action"
STAMP = "stamp_ns"
FRAME_STAMPS = "frame_stamp_ns"
INTERVENTION = "intervention"
META_COLUMN = "mola/meta"
"""Column of ``meta/episodes``: what is known of an episode beyond the format, as one JSON object."""

_FPS_TOLERANCE = 1e-6


def video_key(camera: str) -> str:
    """LeRobot's feature of a camera."""
    return f"observation.images.{camera}"


def file_numbers(index: int) -> tuple[int, int]:
    """(chunk, file) of the ``index``-th file of a kind."""
    return divmod(index, CHUNK_FILES)


@dataclass(frozen=True)
class DatasetSpec:
    """What every episode of one dataset has in common."""

    contract: DataContract
    cameras: Mapping[str, tuple[int, int]]
    """(width, height) in pixels of each of the contract's cameras."""

    def __post_init__(self) -> None:
        if tuple(self.cameras) != self.contract.cameras:
            raise DatasetError(
                f"the contract has cameras {self.contract.cameras}, sizes are given for {tuple(self.cameras)}"
            )
        for name, (width, height) in self.cameras.items():
            if not (16 <= width <= 4096 and 16 <= height <= 4096):
                raise DatasetError(f"camera {name} of {width} x {height} is outside 16..4096 pixels")
        _ = self.fps

    @cached_property
    def fps(self) -> int:
        """Rows a second; LeRobot knows whole numbers only.

        Raises:
            DatasetError: the contract's period is no whole number of rows a second.
        """
        fps = round(NS_PER_S / self.contract.period_ns)
        if fps < 1 or abs(fps * self.contract.period_ns - NS_PER_S) > _FPS_TOLERANCE * NS_PER_S:
            raise DatasetError(
                f"a period of {self.contract.period_ns} ns is not a whole number of rows a second; LeRobot stores no other"
            )
        return fps

    def features(self) -> dict[str, dict[str, Any]]:
        """LeRobot's description of every column and video."""
        columns = {
            STATE: _vector("float32", self.contract.state),
            ACTION: _vector("float32", self.contract.action),
            STAMP: _scalar("int64"),
            FRAME_STAMPS: _vector("int64", self.contract.cameras),
            INTERVENTION: _scalar("bool"),
        }
        videos = {
            video_key(name): {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"]}
            for name, (width, height) in self.cameras.items()
        }
        return columns | videos | INDEX_FEATURES

    def as_json(self) -> dict[str, Any]:
        """The spec in terms of JSON."""
        return {
            "contract": self.contract.model_dump(mode="json"),
            "contract_hash": self.contract.hash,
            "cameras": {name: list(size) for name, size in self.cameras.items()},
        }


def _vector(dtype: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names)], "names": list(names)}


def _scalar(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}


INDEX_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": _scalar("float32"),
    "frame_index": _scalar("int64"),
    "episode_index": _scalar("int64"),
    "index": _scalar("int64"),
    "task_index": _scalar("int64"),
}
"""Columns that every LeRobot dataset has."""
