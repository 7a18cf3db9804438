"""Where a window's frames come from: a cache of views, decoded once, or the videos themselves."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Int, UInt8

from mola_core.cli.progress import Progress
from mola_core.data.row_cache import INDEX, Block, RowCache, build_cache, open_cache
from mola_core.data.sources.protocol import EpisodeSource
from mola_core.data.views import ViewReader

CACHE_VERSION = 1
"""Of what is in a frame cache; counts up when :func:`~mola_core.contracts.preprocess.view_of` gives other pixels."""
_THREADS = os.cpu_count() or 1
_CHUNK_ROWS = 64


class FrameStore(Protocol):
    """Frames at the size of a view."""

    def frames(self, episode: int, camera: str, rows: Int[np.ndarray, "n"], out: UInt8[np.ndarray, "n H W 3"]) -> None:
        """Put the views of ``rows`` into ``out``."""
        ...


class DecodingStore:
    """Reads and scales frames when they are asked for: for datasets too large to keep decoded."""

    def __init__(self, reader: ViewReader) -> None:
        self._reader = reader

    def frames(self, episode: int, camera: str, rows: Int[np.ndarray, "n"], out: UInt8[np.ndarray, "n H W 3"]) -> None:
        out[:] = self._reader.views(episode, camera, [int(row) for row in rows])


class CachedStore:
    """Copies views out of a memory map."""

    def __init__(self, cache: RowCache, *, first_rows: Int[np.ndarray, "episodes"]) -> None:
        self._cache, self._first_rows = cache, first_rows

    def views(self, camera: str) -> UInt8[np.ndarray, "rows H W 3"]:
        """Every picture of ``camera``."""
        return self._cache.arrays[camera]

    def frames(self, episode: int, camera: str, rows: Int[np.ndarray, "n"], out: UInt8[np.ndarray, "n H W 3"]) -> None:
        views, first = self.views(camera), int(self._first_rows[episode])
        for at, row in enumerate(rows):
            out[at] = views[first + int(row)]


def first_rows(source: EpisodeSource) -> Int[np.ndarray, "episodes"]:
    """Row of the whole dataset at which each episode begins."""
    lengths = np.array([header.length for header in source.episodes], dtype=np.int64)
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def cached_store(reader: ViewReader, *, cameras: Sequence[str], folder: Path, quiet: bool = False) -> CachedStore:
    """The cache of what ``reader`` gives under ``folder``, built first where there is none.

    Raises:
        DataError: a frame cannot be read or is too small, or the disk is too small.
    """
    source = reader.source
    size = f"{reader.width}x{reader.height}"
    rule = "-enlarged" if reader.may_enlarge else ""  # or whoever may not enlarge would find what another has enlarged
    path = folder / f"{source.name}-{source.digest()}-{size}{rule}-{CACHE_VERSION}"
    starts = first_rows(source)
    if (path / INDEX).exists():
        return CachedStore(open_cache(path), first_rows=starts)
    num_rows = sum(header.length for header in source.episodes)
    bar = Progress(f"decoding {source.name} to {size}", total=num_rows)
    blocks = _blocks(reader, cameras, starts, advance=(lambda _rows: None) if quiet else bar.advance)
    return CachedStore(build_cache(path, num_rows=num_rows, blocks=blocks), first_rows=starts)


def _blocks(
    reader: ViewReader,
    cameras: Sequence[str],
    starts: Int[np.ndarray, "episodes"],
    *,
    advance: Callable[[int], None],
) -> Iterator[Block]:
    """Episodes a few at a time: decoding leaves the interpreter free, so that threads keep all cores busy."""
    jobs = (
        (episode, range(begin, min(begin + _CHUNK_ROWS, header.length)))
        for episode, header in enumerate(reader.source.episodes)
        for begin in range(0, header.length, _CHUNK_ROWS)
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[tuple[int, range, list[Future[UInt8[np.ndarray, "n H W 3"]]]]] = deque()
        for episode, rows in jobs:
            ahead.append((episode, rows, [pool.submit(reader.views, episode, camera, rows) for camera in cameras]))
            if len(ahead) > _THREADS:
                yield _finished(*ahead.popleft(), cameras=cameras, starts=starts, advance=advance)
        while ahead:
            yield _finished(*ahead.popleft(), cameras=cameras, starts=starts, advance=advance)


def _finished(
    episode: int,
    rows: range,
    pending: Sequence["Future[UInt8[np.ndarray, 'n H W 3']]"],
    *,
    cameras: Sequence[str],
    starts: Int[np.ndarray, "episodes"],
    advance: Callable[[int], None],
) -> Block:
    views = [each.result() for each in pending]
    advance(len(rows))
    return int(starts[episode]) + rows.start, dict(zip(cameras, views, strict=True))
