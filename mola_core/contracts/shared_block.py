"""One writer, many readers, one fixed-layout record between processes, without locks.

A seqlock over a memory-mapped file: the writer makes the counter odd, writes, makes it even; a reader copies and
retries if the counter changed or was odd. Neither can block the other, so a 500 Hz loop may write it, and either
side may be killed at any instant: a new owner starts with a file of its own, and readers that still hold the old one
are told so. A file rather than ``multiprocessing.shared_memory``, whose resource tracker (before Python 3.13) unlinks a
block as soon as any process that merely attached to it exits. Ordering relies on x86's total store order and on the
interpreter never reordering; readers on weaker machines may retry more often, and the counter check still holds for
them because each record is copied between two reads of the counter.
"""

import mmap
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.errors import MolaError

_HEADER_BYTES = 64  # a cache line of its own: the counter, then whether a new owner has replaced this file
_COUNTER, _RETIRED = 0, 1
_QUICK_ATTEMPTS = 100
_PATIENT_ATTEMPTS, _PATIENCE_S = 500, 200e-6
"""A writer that lost its core in the middle of a record gets a tenth of a second to come back."""


class BlockReplacedError(MolaError):
    """The block was given up by its owner, or a new owner has made a new one; open it again."""


class SharedBlock:
    """A structured numpy scalar of ``dtype`` shared through ``path`` (best on /dev/shm)."""

    def __init__(self, path: Path, dtype: np.dtype, *, create: bool) -> None:
        """Own the block (``create``: a fresh file takes the place of any older one) or attach to it.

        Raises:
            MolaError: it cannot be opened, or has the layout of another version.
        """
        self.path = path
        self.dtype = dtype
        self._owner = create
        size = _HEADER_BYTES + dtype.itemsize
        descriptor = _create(path, size) if create else _open(path, size)
        try:
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._header = np.frombuffer(self._map, dtype=np.uint64, count=2)
        self._record = np.frombuffer(self._map, dtype=dtype, count=1, offset=_HEADER_BYTES)

    def write(self, record: np.ndarray) -> None:
        """Publish ``record`` (0-d or 1-element array of ``dtype``). Only one process may write."""
        self._header[_COUNTER] += 1
        self._record[0] = record
        self._header[_COUNTER] += 1

    def try_read(self) -> np.ndarray | None:
        """As :meth:`read`, but None instead of waiting for a writer in the middle of a record. For real-time loops.

        Raises:
            BlockReplacedError: see :meth:`read`.
        """
        self._check_in_force()
        before = int(self._header[_COUNTER])
        copy: np.ndarray = self._record.copy()
        if before % 2 == 0 and before == int(self._header[_COUNTER]):
            scalar: np.ndarray = copy[0]
            return scalar
        return None

    def read(self) -> np.ndarray:
        """A consistent private copy of the last record written (zeros before the first write).

        Raises:
            BlockReplacedError: the owner has closed it or a new owner has replaced it.
            MolaError: its writer died in the middle of a record.
        """
        for attempt in range(_QUICK_ATTEMPTS + _PATIENT_ATTEMPTS):
            record = self.try_read()
            if record is not None:
                return record
            if attempt >= _QUICK_ATTEMPTS:
                time.sleep(_PATIENCE_S)
        raise MolaError(f"shared block {self.path} is torn: its writer died in the middle of a record; restart it")

    @property
    def version(self) -> int:
        """Number of completed writes."""
        return int(self._header[_COUNTER]) // 2

    @property
    def is_replaced(self) -> bool:
        """What is attached here is no longer the block in force; attach again."""
        return bool(self._header[_RETIRED])

    def close(self) -> None:
        """Detach; the owner also removes the file and tells its readers. Safe to call twice."""
        if self._map.closed:
            return
        in_force = not self.is_replaced
        if self._owner:
            self._header[_RETIRED] = 1
        # numpy views keep the map alive; drop them first or close() refuses
        del self._header, self._record
        self._map.close()
        if self._owner and in_force:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_in_force(self) -> None:
        if self.is_replaced:
            raise BlockReplacedError(f"shared block {self.path} was closed or replaced by its owner; open it again")


def _open(path: Path, size: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        raise MolaError(f"shared block {path} cannot be opened ({error.strerror}); is its owner running?") from error
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise MolaError(
            f"shared block {path} has {found} bytes, this version expects {size}; "
            "restart both sides from the same installation"
        )
    return descriptor


def _create(path: Path, size: int) -> int:
    """A zeroed file in place of any older one, complete before anybody can see it."""
    _retire(path)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(descriptor, size)
        fresh.replace(path)
    except OSError as error:
        raise MolaError(f"shared block {path} cannot be created ({error.strerror}); is its folder there?") from error
    return descriptor


def _retire(path: Path) -> None:
    """Tell whoever still reads an older block that it is not the one in force any more."""
    try:
        with path.open("r+b") as old, mmap.mmap(old.fileno(), _HEADER_BYTES) as header:
            header[8 * _RETIRED : 8 * _RETIRED + 8] = (1).to_bytes(8, "little")
    except (OSError, ValueError):
        return  # none there, or no block
