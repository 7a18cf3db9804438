"""Writes a dataset episode by episode; whatever happens, what lies at its path is a whole dataset or nothing.

Until :meth:`LeRobotWriter.finalize`, everything is in the staging folder ``<path>.partial``. A writer that died is continued with
``resume=True``: its finished episodes are still there. Processes that generate side by side each open the same path with
``resume=True`` and write episodes under keys of their own; one of them finalizes when all are done.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from av.error import FFmpegError

from mola_core.contracts.io_spec import DataContract
from mola_core.data.lerobot.assembly import Base, Progress, assemble, link_files, put_in_place
from mola_core.data.lerobot.errors import DatasetError
from mola_core.data.lerobot.layout import DatasetSpec
from mola_core.data.lerobot.reader import LeRobotReader
from mola_core.data.lerobot.staging import EpisodeStage, StagedEpisode, read_staged, sync


class LeRobotWriter:
    """One dataset being written. Rows go into the episode that is open; the first row opens one.

    Row ``k`` holds what was seen and what was commanded *at* its stamp: a model that acts from row ``k`` on predicts rows ``k+1`` …
    (:class:`mola_core.contracts.io_spec.IoSpec`: the first is due one period after the observation).
    """

    def __init__(
        self,
        path: Path,
        *,
        contract: DataContract,
        cameras: Mapping[str, tuple[int, int]],
        resume: bool = False,
        append: bool = False,
    ) -> None:
        """Begin (or ``resume``) a dataset at ``path``, or ``append`` to the one that is there.

        Args:
            path: Where the dataset will be.
            contract: What its rows mean.
            cameras: (width, height) of each camera of the contract, in its order.
            resume: Continue in the staging folder of a writer that did not finish; begin one where there is none.
            append: The dataset exists, and episodes come on top of it.

        Raises:
            DatasetError: ``path`` exists and ``append`` is false; a staging folder exists and ``resume`` is false; it or the
                dataset holds something of another shape.
            ContractMismatchError: it or the dataset was made under another contract.
        """
        self.path = path
        self.spec = DatasetSpec(contract=contract, cameras=dict(cameras))
        self.staging = path.with_name(f"{path.name}.partial")
        self._episodes = self.staging / "episodes"
        self._base_reader = _base_reader(path, append=append)
        if self._base_reader is not None:
            _require_same(self._base_reader.spec, self.spec, where=str(path))
        self._begin_staging(resume=resume)
        self._open: EpisodeStage | None = None

    def _begin_staging(self, *, resume: bool) -> None:
        path = self.staging / "spec.json"
        if path.exists():
            if not resume:
                raise DatasetError(f"{self.staging} is left of a writer that did not finish; resume it, or delete it")
            _require_same(_read_spec(path), self.spec, where=str(self.staging))
            _sweep(self._episodes)
            return
        self._episodes.mkdir(parents=True, exist_ok=True)
        scratch = self.staging / "spec.json.new"
        scratch.write_text(json.dumps(self.spec.as_json()), encoding="utf-8")
        scratch.rename(path)
        sync(self.staging)

    @property
    def staged_keys(self) -> list[str]:
        """Keys of the episodes that are complete and wait for :meth:`finalize`, in order."""
        return sorted(path.name for path in self._episodes.iterdir() if not path.name.startswith("."))

    @property
    def episode_ids(self) -> list[str]:
        """``episode_id`` of every episode that the dataset appended to holds already."""
        there = [] if self._base_reader is None else self._base_reader.episodes
        return [str(entry.meta["episode_id"]) for entry in there if "episode_id" in entry.meta]

    def begin_episode(self, key: str | None = None) -> EpisodeStage:
        """Open an episode; in the dataset, those of one writer stand in the order of their keys.

        ``key`` is a file name of the caller's choice, by which a resumed run knows what it has done; without, they are counted.

        Raises:
            DatasetError: one is open already, the key exists, or is no plain file name.
        """
        if self._open is not None:
            raise DatasetError("an episode is open already; end or discard it first")
        if key is None:
            key = f"episode-{len(self.staged_keys):06d}"
        if not key or key.startswith(".") or "/" in key:
            raise DatasetError(f"an episode's key {key!r} must be a plain file name")
        self._open = EpisodeStage(self._episodes, self.spec, key=key)
        return self._open

    def add_row(self, **row: Any) -> None:
        """Append a row to the open episode: the arguments of :meth:`.staging.EpisodeStage.add_row`."""
        stage = self._open or self.begin_episode()
        with self._space_is_short():
            stage.add_row(**row)

    def end_episode(self, instruction: str, **meta: Any) -> StagedEpisode:
        """Close the open episode; ``meta`` (JSON values) stays with it. From here on nothing short of a broken disk loses it.

        Raises:
            DatasetError: no episode is open, or it has no rows or instruction.
        """
        if self._open is None:
            raise DatasetError("no episode is open")
        with self._space_is_short():
            staged = self._open.finish(instruction, meta)
        self._open = None
        return staged

    def discard_episode(self) -> None:
        """Forget the open episode, if there is one."""
        if self._open is not None:
            self._open.discard()
        self._open = None

    def finalize(self, *, progress: Progress = lambda _line: None) -> LeRobotReader:
        """Make the dataset of all staged episodes and put it at the path; the reader of it.

        Raises:
            DatasetError: an episode is open, nothing is staged, or what is staged is damaged; the staging folder stays.
        """
        if self._open is not None:
            raise DatasetError("an episode is still open; end or discard it first")
        episodes = [read_staged(self._episodes / key) for key in self.staged_keys]
        if not episodes:
            raise DatasetError(f"no episode was written; {self.path} would be empty")
        built = self.staging / "dataset"
        shutil.rmtree(built, ignore_errors=True)
        with self._space_is_short():
            (built / "meta").mkdir(parents=True)
            base = Base()
            if self._base_reader is not None:
                link_files(self.path, built)
                base = self._base_reader.as_base()
            assemble(built, self.spec, episodes, base=base, progress=progress)
            put_in_place(built, self.path)
        shutil.rmtree(self.staging)
        return LeRobotReader(self.path)

    @contextlib.contextmanager
    def _space_is_short(self) -> Iterator[None]:
        """What the file system refuses is no bug of ours; finished episodes stay, and resuming goes on after them."""
        try:
            yield
        except (OSError, FFmpegError) as error:
            raise DatasetError(f"{self.staging} cannot be written: {error}; free space there and resume") from error

    def abandon(self) -> None:
        """Delete the staging folder with all that was written; a dataset that was there before stays as it was."""
        self.discard_episode()
        shutil.rmtree(self.staging, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaving discards an open episode; the finished ones stay staged, and where there are none, nothing stays."""
        self.discard_episode()
        if self._episodes.is_dir() and not any(self._episodes.iterdir()):
            shutil.rmtree(self.staging, ignore_errors=True)


def _base_reader(path: Path, *, append: bool) -> LeRobotReader | None:
    if append:
        return LeRobotReader(path)
    if path.exists():
        raise DatasetError(f"{path} exists already; append to it, choose another path, or delete it")
    return None


def _sweep(episodes: Path) -> None:
    """Remove what processes that are no more have left unfinished."""
    for scratch in episodes.glob(".*"):
        if not Path("/proc", scratch.name.rpartition(".")[2]).exists():
            shutil.rmtree(scratch, ignore_errors=True)


def _read_spec(path: Path) -> DatasetSpec:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cameras = {name: (int(width), int(height)) for name, (width, height) in content["cameras"].items()}
        return DatasetSpec(contract=DataContract.model_validate(content["contract"]), cameras=cameras)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}; delete {path.parent}") from error


def _require_same(there: DatasetSpec, ours: DatasetSpec, *, where: str) -> None:
    ours.contract.require(there.contract, what="what is being written", where=where)
    for name, size in ours.cameras.items():
        if there.cameras[name] != size:
            raise DatasetError(f"{where} holds {name} at {there.cameras[name]}, now {size} is being written")
