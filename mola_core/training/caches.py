"""Arrays computed once and kept on disk, row by row, filled by one process or by many and over as many runs as it takes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Num

from mola_core.training.checks import require_disk
from mola_core.training.distributed import World
from mola_core.training.draws import seed_of
from mola_core.training.progress import Reporter

_CHUNK = 32
_ARRAY, _DONE, _META = "array.npy", "done.npy", "meta.json"


@dataclass(frozen=True)
class CacheSpec:
    """What an array holds; a cache made for another one is not used."""

    what: str
    """For people: ``latents``, ``features``."""
    made_from: str
    """Whatever its content depends on: digest of weights, identity of the dataset, options."""
    shape: tuple[int, ...]
    """Rows first."""
    dtype: str = "float16"

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def key(self) -> str:
        """Name of its folder."""
        return f"{self.what}-{seed_of(self.what, self.made_from, json.dumps(self.shape), self.dtype):016x}"


Compute = Callable[[Int[np.ndarray, "rows"]], Num[np.ndarray, "rows *rest"]]


def cached_array(
    spec: CacheSpec, *, root: Path, compute: Compute, world: World, reporter: Reporter
) -> Num[np.ndarray, "rows *rest"]:
    """The array, memory-mapped and read-only; what is missing of it is computed first, ``compute(rows)`` at a time.

    Raises:
        MolaError: it does not fit on the disk.
    """
    folder = root / spec.key
    if world.is_main:
        _prepare(spec, folder)
    world.wait()
    _fill(spec, folder, compute=compute, world=world, reporter=reporter)
    world.wait()
    array: Num[np.ndarray, rows * rest] = np.load(folder / _ARRAY, mmap_mode="r")
    return array


def _prepare(spec: CacheSpec, folder: Path) -> None:
    if (folder / _META).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    require_disk(folder, spec.num_bytes, what=f"the cache of {spec.what}")
    chunks = -(-spec.shape[0] // _CHUNK)
    np.lib.format.open_memmap(folder / _ARRAY, mode="w+", dtype=spec.dtype, shape=spec.shape)
    np.lib.format.open_memmap(folder / _DONE, mode="w+", dtype=np.uint8, shape=(chunks,))
    meta = {"what": spec.what, "made_from": spec.made_from, "shape": spec.shape, "dtype": spec.dtype}
    (folder / _META).write_text(json.dumps(meta, indent=2), encoding="utf-8")  # last: says that the arrays exist


def _fill(spec: CacheSpec, folder: Path, *, compute: Compute, world: World, reporter: Reporter) -> None:
    done = np.lib.format.open_memmap(folder / _DONE, mode="r+")
    mine = [int(chunk) for chunk in np.flatnonzero(done == 0) if chunk % world.size == world.rank]
    if not mine:
        return
    array = np.lib.format.open_memmap(folder / _ARRAY, mode="r+")
    reporter.begin(f"caching {spec.what}", done=len(done) - len(mine), total=len(done))
    for number, chunk in enumerate(mine, start=len(done) - len(mine) + 1):
        rows = np.arange(chunk * _CHUNK, min((chunk + 1) * _CHUNK, spec.shape[0]))
        array[rows] = compute(rows)
        done[chunk] = 1  # both are pages of the same kernel: a killed process loses neither, or the later one only
        reporter.advance(done=number)
    array.flush()
    done.flush()
    reporter.end()
