"""The folder of episodes: what is in it, and how an episode leaves it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S
from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import write_whole
from mola_core.data.episodes.meta import EpisodeError, EpisodeMeta, Outcome
from mola_core.data.episodes.reader import read_meta


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """One episode of a store."""

    path: Path
    meta: EpisodeMeta
    size_bytes: int

    @property
    def length_s(self) -> float:
        """From the start to the last message."""
        return ((self.meta.ended_ns or self.meta.started_ns) - self.meta.started_ns) / NS_PER_S


@dataclass(frozen=True, slots=True)
class StoreContents:
    """What a store holds."""

    episodes: tuple[StoredEpisode, ...]
    damaged: dict[str, str]
    """What is wrong with episodes that do not even say what they are, by folder name."""
    unfinished: tuple[Path, ...]
    trash: tuple[Path, ...]
    trash_bytes: int


class EpisodeStore:
    """A folder of episodes; it need not exist before the first is recorded."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def contents(self) -> StoreContents:
        """Everything in the store, episodes by time."""
        episodes, damaged, unfinished = [], {}, []
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            if layout.partial_id(folder) is not None:
                unfinished.append(folder)
            elif layout.is_id(folder.name):
                try:
                    episodes.append(StoredEpisode(path=folder, meta=read_meta(folder), size_bytes=_size_of(folder)))
                except EpisodeError as error:
                    damaged[folder.name] = str(error)
        trash = self.root / layout.TRASH_NAME
        dropped = tuple(sorted(trash.iterdir())) if trash.is_dir() else ()
        return StoreContents(
            episodes=tuple(episodes),
            damaged=damaged,
            unfinished=tuple(unfinished),
            trash=dropped,
            trash_bytes=sum(map(_size_of, dropped)),
        )

    def find(self, wanted: str) -> Path:
        """Folder of the episode with this id, a unique beginning or end of it, or ``last``.

        Raises:
            EpisodeError: none, or several; names them.
        """
        names = sorted(
            folder.name for folder in (self.root.iterdir() if self.root.is_dir() else []) if layout.is_id(folder.name)
        )
        if wanted == "last" and names:
            return self.root / names[-1]
        found = [name for name in names if name == wanted] or [
            name for name in names if name.startswith(wanted) or name.endswith(wanted)
        ]
        if len(found) == 1:
            return self.root / found[0]
        if found:
            raise EpisodeError(f"{wanted!r} may be {', '.join(found[:5])}; say more of it")
        raise EpisodeError(f"{self.root} has no episode {wanted!r}; mola episode list shows what it has")

    def set_outcome(self, episode_id: str, outcome: Outcome) -> EpisodeMeta:
        """Write how an episode went.

        Raises:
            EpisodeError: there is none, or it cannot be written.
        """
        folder = layout.episode_folder(self.root, episode_id)
        meta = read_meta(folder).model_copy(update={"outcome": outcome})
        try:
            write_whole(folder / layout.META_NAME, meta.to_json())
        except OSError as error:
            raise EpisodeError(f"the outcome of {episode_id} cannot be written: {error.strerror}") from error
        return meta

    def drop(self, folder: Path) -> Path:
        """Move an episode into the trash; where it lies now.

        Raises:
            EpisodeError: it cannot be moved.
        """
        trash = self.root / layout.TRASH_NAME
        try:
            trash.mkdir(exist_ok=True)
            return folder.rename(trash / folder.name)
        except OSError as error:
            raise EpisodeError(f"{folder} cannot be dropped: {error.strerror}") from error

    def restore(self, episode_id: str) -> Path:
        """Take a dropped episode back out of the trash.

        Raises:
            EpisodeError: it is not there, or its place is taken.
        """
        source, target = self.root / layout.TRASH_NAME / episode_id, layout.episode_folder(self.root, episode_id)
        if not source.is_dir():
            raise EpisodeError(f"the trash of {self.root} has no episode {episode_id!r}")
        if target.exists():
            raise EpisodeError(f"{target} exists; the dropped one stays in the trash")
        return source.rename(target)

    def purge(self) -> int:
        """Delete what is in the trash, for good; bytes that this freed."""
        trash = self.root / layout.TRASH_NAME
        freed = _size_of(trash)
        shutil.rmtree(trash, ignore_errors=True)
        return freed


def _size_of(folder: Path) -> int:
    if not folder.is_dir():
        return folder.stat().st_size if folder.exists() else 0
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
