"""A file that only grows, by whole records: what could not be written whole is not there."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from mola_core.data.episodes.meta import EpisodeError

_MAX_PARTS = 1000
"""Linux takes 1024 buffers a call."""

Part = bytes | bytearray | memoryview


class AppendFile:
    """Unbuffered: what :meth:`append` has returned from outlives the process, and after :meth:`sync` the machine.

    Locked while open, so that nobody repairs a recording that goes on.
    """

    def __init__(self, path: Path) -> None:
        """Create ``path``.

        Raises:
            OSError: it exists, or cannot be created.
        """
        self.path = path
        self.size = 0
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, parts: Sequence[Part]) -> None:
        """Write all of ``parts``, or nothing.

        Raises:
            OSError: e.g. the disk is full; the file is as it was before.
        """
        try:
            written = sum(self._write(parts[start : start + _MAX_PARTS]) for start in range(0, len(parts), _MAX_PARTS))
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += written

    def sync(self) -> None:
        """Wait until everything written is on the disk; may be called from another thread than :meth:`append`."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close; twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, parts: Sequence[Part]) -> int:
        total, written = sum(map(len, parts)), os.writev(self._fd, parts)
        if written < total:  # rare: a signal, or the last bytes of a disk; what is left goes in one piece
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        return total


def refuse_if_locked(path: Path) -> None:
    """Make sure that nobody is writing ``path``.

    Raises:
        EpisodeError: somebody is.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EpisodeError(f"{path} is being recorded right now; stop the recorder first") from error
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make names that were created or renamed in ``folder`` outlive the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or as it was before, also after a power cut."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
