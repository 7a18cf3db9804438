"""From stored labels to those of a sample, one class a kind of storage behind :class:`LabelReader`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int

from mola_core.cli.progress import Progress
from mola_core.data.errors import DataError
from mola_core.data.labels.info import LabelInfo, MapsInfo, RigidSceneInfo
from mola_core.data.labels.relative_depth import standardised
from mola_core.data.labels.rigid_flow import Flow, Poses, rigid_flow
from mola_core.data.labels.store import LabelFolder
from mola_core.data.row_cache import INDEX, Block, RowCache, build_cache, open_cache

Labels = dict[str, np.ndarray]
_NUM_GEOMS = 256


class LabelReader(Protocol):
    """Labels of one dataset, as :attr:`mola_core.data.sample.Sample.labels` describes them."""

    @property
    def relative(self) -> tuple[str, ...]:
        """Labels that have no unit: each frame is on a scale of its own."""
        ...

    def labels(
        self,
        names: Sequence[str],
        *,
        cameras: Sequence[str],
        rows: Int[np.ndarray, "1+T"],
        present: Bool[np.ndarray, "1+T"],
    ) -> Labels:
        """Of the dataset's ``rows``, now first; ``present`` is false beyond the end of the episode. What has a mask comes with it."""
        ...


def open_labels(
    dataset: Path,
    *,
    teacher: str,
    num_episodes: int,
    num_rows: int,
    wanted: Sequence[str],
    cache_folder: Path,
    digest: str,
) -> LabelReader:
    """The labels of ``teacher``, memory-mapped; the map is built first where there is none.

    Raises:
        DataError: no such labels, some are missing, or they lack one of ``wanted``.
    """
    folder = LabelFolder(dataset, teacher=teacher)
    info = folder.require(wanted, num_episodes=num_episodes)
    path = cache_folder / f"{dataset.name}-{digest}-labels-{teacher}"
    cache = (
        open_cache(path)
        if (path / INDEX).exists()
        else _build(path, folder, num_episodes=num_episodes, num_rows=num_rows)
    )
    return reader_of(info, cache)


def reader_of(info: LabelInfo, cache: RowCache) -> LabelReader:
    """The reader of labels of ``info``'s kind."""
    return RigidSceneReader(info, cache) if isinstance(info, RigidSceneInfo) else MapsReader(info, cache)


def _build(path: Path, folder: LabelFolder, *, num_episodes: int, num_rows: int) -> RowCache:
    bar = Progress(f"unpacking labels of {folder.teacher}", total=num_episodes)

    def blocks() -> Iterator[Block]:
        first = 0
        for episode in range(num_episodes):
            arrays = folder.read(episode)
            yield first, arrays
            first += len(next(iter(arrays.values())))
            bar.advance()
        if first != num_rows:
            raise DataError(f"{folder.path} labels {first} rows, the dataset has {num_rows}; delete it and label again")

    return build_cache(path, num_rows=num_rows, blocks=blocks())


class JoinedReader:
    """Each label from a teacher of its own."""

    def __init__(self, readers: Mapping[str, LabelReader]) -> None:
        self._readers = readers

    @property
    def relative(self) -> tuple[str, ...]:
        return tuple(name for name, reader in self._readers.items() if name in reader.relative)

    def labels(
        self,
        names: Sequence[str],
        *,
        cameras: Sequence[str],
        rows: Int[np.ndarray, "1+T"],
        present: Bool[np.ndarray, "1+T"],
    ) -> Labels:
        labels: Labels = {}
        for name in names:
            labels |= self._readers[name].labels((name,), cameras=cameras, rows=rows, present=present)
        return labels


class RigidSceneReader:
    """Exact labels of a simulator."""

    relative = ()

    def __init__(self, info: RigidSceneInfo, cache: RowCache) -> None:
        self._info, self._arrays = info, cache.arrays
        self._classes = _table(info.class_of_geom, missing=0).astype(np.uint8)
        self._bodies = _table(info.body_of_geom, missing=-1)

    def labels(
        self,
        names: Sequence[str],
        *,
        cameras: Sequence[str],
        rows: Int[np.ndarray, "1+T"],
        present: Bool[np.ndarray, "1+T"],
    ) -> Labels:
        labels: Labels = {}
        if "depth" in names:
            counts = np.stack([self._arrays[f"depth/{name}"][rows] for name in cameras])
            labels["depth"] = (counts * np.float32(self._info.depth_unit_m)).astype(np.float32)
            labels["depth_mask"] = counts > 0
        if not {"semantic", "referred"}.isdisjoint(names):
            shown = np.stack([self._classes[self._arrays[f"geom/{name}"][rows]] for name in cameras])  # C 1+T h w
            if "semantic" in names:
                labels["semantic"] = shown
            if "referred" in names:
                parts = self._arrays["part_of_class"][rows]  # 1+T classes
                labels["referred"] = np.stack([part[shown[:, row]] for row, part in enumerate(parts)], axis=1)
        if "flow" in names:
            flows = [self._flow(name, rows) for name in cameras]
            labels["flow"] = np.stack([flow.shift for flow in flows])
            labels["flow_mask"] = np.stack([flow.known for flow in flows]) & present[1:, None, None]
        return labels

    def _flow(self, camera: str, rows: Int[np.ndarray, "1+T"]) -> Flow:
        arrays, now = self._arrays, int(rows[0])
        return rigid_flow(
            depth=arrays[f"depth/{camera}"][now] * self._info.depth_unit_m,
            body=self._bodies[arrays[f"geom/{camera}"][now]],
            camera=self._info.cameras[camera].pinhole,
            now=self._poses(camera, now),
            then=self._poses(camera, rows[1:]),
        )

    def _poses(self, camera: str, rows: int | Int[np.ndarray, "T"]) -> Poses:
        arrays = self._arrays
        return Poses(
            base_from_camera=arrays[f"base_from_camera/{camera}"][rows], base_from_body=arrays["base_from_body"][rows]
        )


class MapsReader:
    """Labels of a picture model."""

    def __init__(self, info: MapsInfo, cache: RowCache) -> None:
        self._info, self._arrays = info, cache.arrays

    @property
    def relative(self) -> tuple[str, ...]:
        return ("depth",) if self._info.depth_unit == "relative" and "depth" in self._info.labels else ()

    def labels(
        self,
        names: Sequence[str],
        *,
        cameras: Sequence[str],
        rows: Int[np.ndarray, "1+T"],
        present: Bool[np.ndarray, "1+T"],
    ) -> Labels:
        labels: Labels = {}
        if "depth" in names:
            known = [self._arrays[f"depth/{camera}"][rows] > 0 for camera in cameras]
            labels["depth"] = np.stack(
                [self._depth(one, rows, there) for one, there in zip(cameras, known, strict=True)]
            )
            labels["depth_mask"] = np.stack(known)
        if "semantic" in names:
            labels["semantic"] = np.stack([self._scaled("semantic", camera, rows) for camera in cameras])
        if "flow" in names:
            offsets = self._offsets(rows, present)
            flow = self._of_pairs("flow", cameras, row=int(rows[0]), offsets=offsets)
            labels["flow"] = flow * np.float32(self._info.flow_unit)
            tracked = self._of_pairs("flow_known", cameras, row=int(rows[0]), offsets=offsets)
            labels["flow_mask"] = (tracked > 0) & present[1:, None, None]
        return labels

    def _depth(
        self, camera: str, rows: Int[np.ndarray, "1+T"], known: Bool[np.ndarray, "1+T h w"]
    ) -> Float32[np.ndarray, "1+T h w"]:
        depth = self._scaled("depth", camera, rows)
        return standardised(depth, known=known) if "depth" in self.relative else depth

    def _scaled(self, name: str, camera: str, rows: Int[np.ndarray, "1+T"]) -> Float32[np.ndarray, "1+T h w *D"]:
        counts, scale = self._arrays[f"{name}/{camera}"][rows], self._arrays[f"{name}_scale/{camera}"][rows]
        values: Float32[np.ndarray, "1+T h w *D"] = counts * scale[:, None, None]
        return values

    def _of_pairs(self, name: str, cameras: Sequence[str], *, row: int, offsets: Sequence[int]) -> np.ndarray:
        """[C, T, h, w, …] of the stored arrays from ``row`` on."""
        return np.stack([np.stack([self._arrays[f"{name}+{k}/{one}"][row] for k in offsets]) for one in cameras])

    def _offsets(self, rows: Int[np.ndarray, "1+T"], present: Bool[np.ndarray, "1+T"]) -> list[int]:
        """Of the stored flows; beyond the end of an episode any will do, for its mask is false."""
        stored = self._info.flow_offsets
        offsets = [int(row - rows[0]) if there else stored[0] for row, there in zip(rows[1:], present[1:], strict=True)]
        if set(offsets) - set(stored):
            raise DataError(
                f"teacher {self._info.teacher} labelled the flow over {stored} rows, {offsets} are wanted; label with --offsets"
            )
        return offsets


def _table(values: Sequence[int], *, missing: int) -> Int[np.ndarray, "256"]:
    table = np.full(_NUM_GEOMS, missing, np.int64)
    table[: len(values)] = values
    return table
