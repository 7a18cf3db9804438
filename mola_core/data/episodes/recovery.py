"""Making an episode of what a killed recorder left behind, or of one whose bag is damaged.

The original stays untouched until the new bag has been read back whole; where anything in it was damaged it stays for good,
in the store's trash.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import AppendFile, refuse_if_locked, sync_folder, write_whole
from mola_core.data.episodes.bag import Bag
from mola_core.data.episodes.mcap_writer import McapWriter
from mola_core.data.episodes.meta import EpisodeError, EpisodeMeta, meta_from_json
from mola_core.data.episodes.recording import META_RECORD
from mola_core.data.episodes.rosbag2 import metadata_yaml
from mola_core.data.episodes.salvage import Salvage, chunks_of

_ENDED_BY = "the recorder was killed"
_REPAIRED = "repaired"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it."""

    episode_id: str
    path: Path
    messages: int
    skipped_bytes: int
    """Damaged in the middle."""
    lost_bytes: int
    """At the end: the open chunk."""
    original: Path | None
    """Where the damaged original is kept; None where nothing but the open chunk was missing, and the copy is complete."""


def unfinished(store: Path) -> list[Path]:
    """Folders of recordings that were never ended, oldest first; one may be going on."""
    if not store.is_dir():
        return []
    return sorted(folder for folder in store.iterdir() if layout.partial_id(folder) is not None)


def recover(store: Path, folder: Path) -> Recovered:
    """Turn ``folder`` (unfinished, or an episode with a damaged bag) of ``store`` into an episode that can be read.

    Raises:
        EpisodeError: it is being recorded, nothing can be read of it, or there is no room for the copy. Nothing was changed.
    """
    episode_id = layout.partial_id(folder) or folder.name
    source = layout.bag_file(folder)
    refuse_if_locked(source)
    _check_room(source)
    work = folder.with_name(f".{episode_id}.recovering")
    shutil.rmtree(work, ignore_errors=True)  # of a recovery that was itself cut short
    found = Salvage()
    try:
        work.mkdir()
        messages = _copy(source, work, found, episode_id=episode_id)
        meta = _meta(folder, found, episode_id=episode_id)
        _describe(work, meta)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise EpisodeError(
            f"{folder} cannot be recovered: {error.strerror or error}; the original is untouched"
        ) from error
    except EpisodeError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    whole = not found.skipped_bytes and layout.partial_id(folder) is not None
    original = _swap(store, folder, work, episode_id=episode_id, keep=not whole)
    return Recovered(
        episode_id=episode_id,
        path=layout.episode_folder(store, episode_id),
        messages=messages,
        skipped_bytes=found.skipped_bytes,
        lost_bytes=found.lost_bytes,
        original=original,
    )


def _check_room(source: Path) -> None:
    needed, free = source.stat().st_size, shutil.disk_usage(source.parent).free
    if needed > free:
        raise EpisodeError(
            f"recovering {source} needs {needed / 1e9:.2f} GB beside the original, {free / 1e9:.2f} GB are free; "
            "empty the trash (mola episode drop --purge) or move episodes away"
        )


def _copy(source: Path, work: Path, found: Salvage, *, episode_id: str) -> int:
    """Write the salvaged chunks into a new bag in ``work``, read it back, and return the number of messages."""
    file = AppendFile(work / layout.bag_name(episode_id))
    try:
        writer = McapWriter(file)
        declared = False
        for chunk in chunks_of(source, found):
            if not declared:
                writer.declare([*found.schemas.values()], [*found.channels.values()])
                declared = True
            if set(chunk.index) <= set(found.channels):  # others could not be decoded
                writer.write_chunk(chunk)
        if not declared:
            writer.declare([*found.schemas.values()], [*found.channels.values()])
        for name, content in found.metadata.items():
            writer.write_metadata(name, content)
        if not found.channels:
            raise EpisodeError(
                f"{source} was cut off before it says which streams it holds; nothing can be recovered from it"
            )
        writer.finish()
        file.sync()
    finally:
        file.close()
    total = sum(writer.counts.values())
    _verify(file.path, expected=total)
    start_ns, end_ns = writer.span_ns
    text = metadata_yaml(
        file_name=file.path.name,
        schemas=[*found.schemas.values()],
        channels=[*found.channels.values()],
        counts=writer.counts,
        start_ns=start_ns,
        end_ns=end_ns,
    )
    write_whole(work / layout.METADATA_NAME, text)
    return total


def _verify(path: Path, *, expected: int) -> None:
    bag = Bag(path)
    try:
        count = sum(1 for _ in bag.messages())
    finally:
        bag.close()
    if count != expected:
        raise EpisodeError(f"{path}: {expected} messages were written, {count} read back; is the disk failing?")


def _meta(folder: Path, found: Salvage, *, episode_id: str) -> EpisodeMeta:
    """From ``episode.json``, or where that is damaged from its copy inside the bag."""
    file = folder / layout.META_NAME
    inside = found.metadata.get(META_RECORD, {}).get("episode", "")
    try:
        return meta_from_json(file.read_text(encoding="utf-8"), where=file)
    except (OSError, UnicodeDecodeError, EpisodeError) as error:
        if not inside:
            raise EpisodeError(
                f"neither {file} nor the bag says what episode {episode_id} is; a bag of another recorder? ({error})"
            ) from error
        return meta_from_json(inside, where=folder)


def _describe(work: Path, meta: EpisodeMeta) -> None:
    bag = Bag(layout.bag_file(work))
    bag.close()
    ended = {} if meta.ended_ns is not None else {"ended_ns": bag.end_ns or meta.started_ns}
    by = _ENDED_BY if meta.ended_ns is None else f"{meta.ended_by}; {_REPAIRED}"
    repaired = meta.model_copy(update={**ended, "ended_by": by, "recovered": True})
    write_whole(work / layout.META_NAME, repaired.to_json())
    sync_folder(work)


def _swap(store: Path, folder: Path, work: Path, *, episode_id: str, keep: bool) -> Path | None:
    """Put the copy in its place, and the original into the trash or out of the world; returns where it is kept."""
    final, kept = layout.episode_folder(store, episode_id), None
    if keep:
        trash = store / layout.TRASH_NAME
        trash.mkdir(exist_ok=True)
        kept = _free_name(trash / f"{episode_id}.original")
        folder.rename(kept)
    work.rename(final)
    sync_folder(store)
    if not keep:
        shutil.rmtree(folder)
    return kept


def _free_name(path: Path) -> Path:
    number = 1
    candidate = path
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
