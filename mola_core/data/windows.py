"""Episodes cut into samples: one for each row that has a future."""

import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, UInt8

from mola_core.contracts.io_spec import DataContract
from mola_core.data.batch import Batch, Clips
from mola_core.data.errors import DataError
from mola_core.data.frame_store import CachedStore, DecodingStore, FrameStore, cached_store, first_rows
from mola_core.data.labels.reader import JoinedReader, LabelReader, open_labels
from mola_core.data.labels.store import teachers_of
from mola_core.data.sample import Motion, Place, Sample, WindowSpec
from mola_core.data.sources.protocol import EpisodeNumbers, EpisodeSource
from mola_core.data.views import ViewReader

Split = Literal["all", "train", "validation"]
_EPISODES_IN_MEMORY = 4096


def split_episodes(num_episodes: int, *, split: Split, validation_share: float) -> Int[np.ndarray, "chosen"]:
    """Which episodes belong to ``split``: always the same ones, spread over the dataset, at least one each where there are two."""
    order = sorted(range(num_episodes), key=lambda episode: zlib.crc32(f"episode {episode}".encode()))
    count = min(max(round(validation_share * num_episodes), 1), num_episodes - 1) if validation_share > 0.0 else 0
    chosen = {"all": order, "train": order[count:], "validation": order[:count]}[split]
    return np.array(sorted(chosen), dtype=np.int64)


class WindowedSource:
    """A :class:`mola_core.data.sample.SampleSource` over any format of episodes.

    With a horizon, every row whose first action exists and is to be imitated is a sample; without one, every row whose nearest
    foresight frame exists.
    """

    def __init__(
        self,
        source: EpisodeSource,
        window: WindowSpec,
        *,
        cache_folder: Path | None,
        split: Split = "all",
        validation_share: float = 0.05,
        label_teacher: str | Mapping[str, str] | None = None,
        offset_period_ns: int | None = None,
        cache_frames: bool = True,
        may_enlarge: bool = False,
        quiet: bool = False,
    ) -> None:
        """Open ``source`` through ``window``; unpacked labels and, with ``cache_frames``, decoded frames are cached under
        ``cache_folder``; where it is None, nothing is.

        ``offset_period_ns`` says what distance of rows the window's offsets are meant in; pictures alone are taken as close to that
        as the source's own rows allow. ``may_enlarge`` is said by :func:`mola_core.data.views.may_enlarge`.

        Raises:
            DataError: no camera of the window, no numbers where a horizon wants them, labels wanted and not there, or nothing left.
        """
        self._source, self._window = source, window
        self._offsets = _offsets(source, window, offset_period_ns)
        self._cameras = _present_cameras(source, window)
        if window.horizon and not source.contract.action:
            raise DataError(f"{source.path} has no actions; it serves for pictures alone (stage 1), not for a policy")
        self._first_rows = first_rows(source)
        self._lengths = np.array([header.length for header in source.episodes], dtype=np.int64)
        chosen = split_episodes(len(source.episodes), split=split, validation_share=validation_share)
        self._index = self._samples(chosen)
        if not len(self._index):
            raise DataError(f"{source.path}: split {split!r} has no sample long enough for offsets {window.offsets}")
        width, height = window.size
        reader = ViewReader(source, width=width, height=height, may_enlarge=may_enlarge)
        self._store: FrameStore = DecodingStore(reader)
        if cache_folder is not None and cache_frames:
            cameras = source.contract.cameras
            self._store = cached_store(reader, cameras=cameras, folder=cache_folder, quiet=quiet)
        self._labels = self._open_labels(label_teacher, cache_folder)
        self._numbers: OrderedDict[int, EpisodeNumbers] = OrderedDict()

    def _open_labels(self, teachers: str | Mapping[str, str] | None, cache_folder: Path | None) -> LabelReader | None:
        wanted = self._window.labels
        if not wanted:
            return None
        if cache_folder is None:
            raise DataError(f"{self._source.path}: labels {wanted} need a folder for the cache")
        absent = [camera for camera in self._window.labelled_cameras if camera not in self._cameras]
        if absent:
            raise DataError(
                f"{self._source.path} has only the cameras {self._cameras}; labels of {', '.join(absent)} are wanted: leave the "
                "dataset out, or choose what is labelled"
            )
        if teachers is None:
            teachers = teachers_of(self._source.path, wanted)
        if isinstance(teachers, str):
            return self._labels_of(teachers, wanted, cache_folder)
        unsaid = set(wanted) - set(teachers)
        if unsaid:
            raise DataError(f"{self._source.path}: no teacher is named for {', '.join(sorted(unsaid))}")
        if len(set(teachers.values())) == 1:
            return self._labels_of(next(iter(teachers.values())), wanted, cache_folder)
        return JoinedReader({name: self._labels_of(teachers[name], (name,), cache_folder) for name in wanted})

    def _labels_of(self, teacher: str, wanted: Sequence[str], cache_folder: Path) -> LabelReader:
        return open_labels(
            self._source.path,
            teacher=teacher,
            num_episodes=len(self._lengths),
            num_rows=int(self._lengths.sum()),
            wanted=wanted,
            cache_folder=cache_folder,
            digest=self._source.digest(),
        )

    def _samples(self, episodes: Int[np.ndarray, "chosen"]) -> Int[np.ndarray, "n 2"]:
        """(episode, row) of every sample."""
        parts = [np.zeros((0, 2), np.int64)]
        for episode in episodes:
            header = self._source.episodes[int(episode)]
            if self._window.horizon:
                rows = np.arange(max(header.length - self._source.action_lead, 0))
                rows = rows[self._imitable(int(episode), rows + self._source.action_lead)]
            else:
                nearest = int(self._offsets[1]) if len(self._offsets) > 1 else 0
                rows = np.arange(max(header.length - nearest, 0))
            parts.append(np.stack([np.full_like(rows, episode), rows], axis=1))
        return np.concatenate(parts)

    def _imitable(self, episode: int, rows: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        good = np.ones(len(rows), bool)
        for first, last in self._source.episodes[episode].mistakes:
            good &= (rows < first) | (rows >= last)
        return good

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def contract(self) -> DataContract:
        return self._source.contract

    @property
    def window(self) -> WindowSpec:
        return self._window

    @property
    def relative_labels(self) -> tuple[str, ...]:
        return () if self._labels is None else self._labels.relative

    @property
    def row_offsets(self) -> tuple[int, ...]:
        """The window's offsets in rows of the source, the present first."""
        return tuple(int(offset) for offset in self._offsets)

    @property
    def index(self) -> Int[np.ndarray, "n 2"]:
        """(episode, row) of every sample."""
        return self._index

    def __len__(self) -> int:
        return len(self._index)

    @property
    def views(self) -> tuple[UInt8[np.ndarray, "rows H W 3"], ...] | None:
        """All pictures of each of the window's cameras, memory-mapped; None where they are decoded when needed or one is missing."""
        if not isinstance(self._store, CachedStore) or len(self._cameras) != len(self._window.cameras):
            return None
        return tuple(self._store.views(camera) for camera in self._cameras)

    @property
    def window_rows(self) -> tuple[Int[np.ndarray, "n 1+T"], Bool[np.ndarray, "n 1+T"]]:
        """Of every sample, where in ``views`` its frames are (the episode's last where it has ended), and whether they exist."""
        episodes, rows = self._index[:, 0], self._index[:, 1]
        there, present = self._rows_there(episodes, rows)
        return self._first_rows[episodes][:, None] + there, present

    def sample(self, index: int) -> Sample:
        batch = self.batch([index])
        return Sample(
            frames=batch.frames[0],
            frame_mask=batch.frame_mask[0],
            motion=Motion(state=batch.state[0], actions=batch.actions[0], action_mask=batch.action_mask[0]),
            instruction=batch.instructions[0],
            labels={name: values[0] for name, values in batch.labels.items()},
            dataset=self.name,
            episode=int(batch.episodes[0]),
            row=int(batch.rows[0]),
        )

    def place(self, index: int) -> Place:
        episode, row = (int(value) for value in self._index[index])
        return Place(episode=episode, row=row, instruction=self._source.episodes[episode].instruction)

    def motion(self, index: int) -> Motion:
        episode, row = (int(value) for value in self._index[index])
        horizon = self._window.horizon
        if not horizon:
            return Motion(
                state=np.zeros(0, np.float32), actions=np.zeros((0, 0), np.float32), action_mask=np.zeros(0, bool)
            )
        numbers = self._episode_numbers(episode)
        rows = row + self._source.action_lead + np.arange(horizon)
        there = np.minimum(rows, len(numbers.action) - 1)
        good = (rows == there) & self._imitable(episode, rows)
        return Motion(
            state=numbers.state[row], actions=numbers.action[there], action_mask=np.logical_and.accumulate(good)
        )

    def _episode_numbers(self, episode: int) -> EpisodeNumbers:
        known = self._numbers.get(episode)
        if known is None:
            known = self._source.numbers(episode)
            if len(known.state) != self._lengths[episode]:
                raise DataError(
                    f"{self._source.path}, episode {episode}: {len(known.state)} rows of numbers for {self._lengths[episode]} frames"
                )
            self._numbers[episode] = known
            while len(self._numbers) > _EPISODES_IN_MEMORY:
                self._numbers.pop(next(iter(self._numbers)), None)
        return known

    def batch(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> Batch:
        chosen = self._index[np.asarray(indices, dtype=np.int64)]
        episodes, rows = chosen[:, 0], chosen[:, 1]
        there, present = self._rows_there(episodes, rows)
        motions = [self.motion(int(index)) for index in indices]
        return Batch(
            frames=self._frames(episodes, there),
            frame_mask=self._frame_mask(present),
            state=np.stack([motion.state for motion in motions]),
            actions=np.stack([motion.actions for motion in motions]),
            action_mask=np.stack([motion.action_mask for motion in motions]),
            instructions=tuple(self._source.episodes[int(episode)].instruction for episode in episodes),
            labels=self._stacked_labels(episodes, there, present),
            datasets=(self.name,) * len(chosen),
            episodes=episodes,
            rows=rows,
        )

    def _frames(self, episodes: Int[np.ndarray, "B"], rows: Int[np.ndarray, "B 1+T"]) -> np.ndarray:
        frames = self._empty_frames(len(episodes), len(self._window.views))
        for number in range(len(self._window.views)):
            for at, episode in enumerate(episodes):
                self._put_frames(frames[at, number], int(episode), rows[at], camera=number)
        return frames

    def _empty_frames(self, *lengths: int) -> UInt8[np.ndarray, "*lengths 1+T H W 3"]:
        width, height = self._window.size
        return np.empty((*lengths, len(self._window.offsets), height, width, 3), np.uint8)

    def _put_frames(
        self, out: UInt8[np.ndarray, "1+T H W 3"], episode: int, rows: Int[np.ndarray, "1+T"], *, camera: int
    ) -> None:
        name = self._window.cameras[camera]
        if name in self._cameras:
            self._store.frames(episode, name, rows, out)
        else:
            out[:] = 0

    def clips(self, indices: Sequence[int] | Int[np.ndarray, "B"], *, cameras: Int[np.ndarray, "B"]) -> Clips:
        chosen = self._index[np.asarray(indices, dtype=np.int64)]
        there, present = self._rows_there(chosen[:, 0], chosen[:, 1])
        frames = self._empty_frames(len(chosen))
        for at, camera in enumerate(cameras):
            self._put_frames(frames[at], int(chosen[at, 0]), there[at], camera=int(camera))
        return Clips(
            frames=frames,
            frame_mask=self._frame_mask(present)[np.arange(len(chosen)), cameras],
            instructions=tuple(self._source.episodes[int(episode)].instruction for episode in chosen[:, 0]),
        )

    def _frame_mask(self, present: Bool[np.ndarray, "B 1+T"]) -> Bool[np.ndarray, "B C 1+T"]:
        seen = np.array([camera in self._cameras for camera in self._window.cameras])
        mask: Bool[np.ndarray, "B C 1+T"] = present[:, None, :] & seen[None, :, None]
        return mask

    def labels(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        chosen = self._index[np.asarray(indices, dtype=np.int64)]
        return self._stacked_labels(chosen[:, 0], *self._rows_there(chosen[:, 0], chosen[:, 1]))

    def _rows_there(
        self, episodes: Int[np.ndarray, "B"], rows: Int[np.ndarray, "B"]
    ) -> tuple[Int[np.ndarray, "B 1+T"], Bool[np.ndarray, "B 1+T"]]:
        """Rows of the window's frames (the episode's last where it has ended), and whether they exist."""
        wanted = rows[:, None] + self._offsets
        there = np.minimum(wanted, self._lengths[episodes][:, None] - 1)
        return there, wanted == there

    def _stacked_labels(
        self, episodes: Int[np.ndarray, "B"], there: Int[np.ndarray, "B 1+T"], present: Bool[np.ndarray, "B 1+T"]
    ) -> dict[str, np.ndarray]:
        if self._labels is None:
            return {}
        window, chosen = self._window, list(self._window.labelled_frames)
        rows = self._first_rows[episodes][:, None] + there[:, chosen]
        each = [
            self._labels.labels(window.labels, cameras=window.labelled_cameras, rows=one, present=known)
            for one, known in zip(rows, present[:, chosen], strict=True)
        ]
        return {name: np.stack([labels[name] for labels in each]) for name in each[0]}


def _offsets(source: EpisodeSource, window: WindowSpec, period_ns: int | None) -> Int[np.ndarray, "1+T"]:
    """The window's offsets in rows of the source, each at least one after the one before."""
    offsets = np.array(window.offsets, dtype=np.int64)
    if window.horizon or period_ns is None:
        return offsets
    scaled = np.rint(offsets * (period_ns / source.contract.period_ns)).astype(np.int64)
    steps = np.arange(len(offsets))
    return np.array(np.maximum.accumulate(scaled - steps) + steps, dtype=np.int64)


def _present_cameras(source: EpisodeSource, window: WindowSpec) -> tuple[str, ...]:
    cameras = tuple(camera for camera in window.cameras if camera in source.contract.cameras)
    if not cameras:
        raise DataError(
            f"{source.path} has cameras {source.contract.cameras}, none of which is asked for: {window.cameras}"
        )
    return cameras
