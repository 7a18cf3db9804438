"""Arrays with a row for each row of a dataset, memory-mapped: built once, atomically, then shared by every process that trains.

A folder holds ``index.json`` (names, types, shapes) and one raw file an array. What lies at the path is whole or absent.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mola_core.data.errors import BadFileError, DataError

INDEX = "index.json"
Block = tuple[int, Mapping[str, Shaped[np.ndarray, "rows *shape"]]]
"""First row, and arrays of the rows from there on."""


@dataclass(frozen=True)
class RowCache:
    """An opened cache. Pickles as its path, so that workers map the same pages."""

    path: Path
    arrays: Mapping[str, Shaped[np.ndarray, "rows *shape"]]
    """Read-only maps."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open_cache, (self.path,)


def open_cache(path: Path) -> RowCache:
    """Map the arrays of a complete cache.

    Raises:
        BadFileError: damaged, or shorter than its index says.
    """
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        arrays = {
            name: np.memmap(path / entry["file"], dtype=entry["dtype"], mode="r", shape=tuple(entry["shape"]))
            for name, entry in index.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFileError(path, f"no readable cache ({error}); delete it and it is built again") from error
    return RowCache(path=path, arrays=arrays)


def build_cache(path: Path, *, num_rows: int, blocks: Iterator[Block]) -> RowCache:
    """Fill a new cache at ``path`` from ``blocks``, in any order; where another process was faster, its cache is used.

    Raises:
        DataError: the folder cannot be written, the disk is too small, or a block differs from the first one in names, type or shape.
    """
    _sweep(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            f"no cache can be built at {path} ({error.strerror}); set MOLA_CACHE_DIR to a folder for it"
        ) from error
    try:
        files = _fill(scratch, num_rows=num_rows, blocks=blocks)
        index = {
            name: {
                "file": array.filename and Path(array.filename).name,
                "dtype": str(array.dtype),
                "shape": list(array.shape),
            }
            for name, array in files.items()
        }
        (scratch / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
        try:
            scratch.rename(path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_cache(path)


def _fill(folder: Path, *, num_rows: int, blocks: Iterator[Block]) -> dict[str, "np.memmap[Any, Any]"]:
    files: dict[str, np.memmap[Any, Any]] = {}
    for first, arrays in blocks:
        if not files:
            files = _create(folder, num_rows=num_rows, like=arrays)
        if set(arrays) != set(files):
            raise DataError(f"rows from {first} on have {sorted(arrays)}, those before had {sorted(files)}")
        for name, array in arrays.items():
            if array.shape[1:] != files[name].shape[1:] or array.dtype != files[name].dtype:
                raise DataError(
                    f"{name} is {array.dtype}{list(array.shape[1:])} in rows from {first} on, "
                    f"{files[name].dtype}{list(files[name].shape[1:])} before"
                )
            files[name][first : first + len(array)] = array
    for file in files.values():
        file.flush()
    return files


def _create(
    folder: Path, *, num_rows: int, like: Mapping[str, Shaped[np.ndarray, "rows *shape"]]
) -> dict[str, "np.memmap[Any, Any]"]:
    needed = sum(num_rows * int(np.prod(array.shape[1:])) * array.dtype.itemsize for array in like.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"the cache {folder.parent} needs {needed / 2**30:.1f} GiB, its disk has {free / 2**30:.1f} GiB free"
        )
    return {
        name: np.memmap(folder / f"{number:03d}.raw", dtype=array.dtype, mode="w+", shape=(num_rows, *array.shape[1:]))
        for number, (name, array) in enumerate(like.items())
    }


def _sweep(path: Path) -> None:
    """Delete what builders of this cache left that no longer run."""
    for left in path.parent.glob(f".{path.name}.*"):
        number = left.name.rpartition(".")[2]
        if number.isdecimal() and not Path(f"/proc/{number}").exists():
            shutil.rmtree(left, ignore_errors=True)
