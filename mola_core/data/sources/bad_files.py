"""Bad files stop the opening of a dataset, or are left out and counted where that was asked for."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from mola_core.data.errors import DataError

_Read = TypeVar("_Read")


def read_each(
    items: Iterable[Path], read: Callable[[Path], _Read], *, skip_bad: bool
) -> tuple[list[_Read], list[DataError]]:
    """What ``read`` makes of each file, and with ``skip_bad`` the errors of those that it refused.

    Raises:
        DataError: a file is bad, and skipping was not asked for, or none is good.
    """
    good: list[_Read] = []
    skipped: list[DataError] = []
    for item in items:
        try:
            good.append(read(item))
        except DataError as error:
            if not skip_bad:
                raise
            skipped.append(error)
    if skipped and not good:
        raise DataError(f"all {len(skipped)} files are bad, the first: {skipped[0]}")
    return good, skipped


def digest_of(files: Sequence[Path], *, base: Path, note: str = "") -> str:
    """Of names and sizes: enough to notice that a dataset was exchanged or extended, without reading it."""
    digest = hashlib.sha256(note.encode())
    for file in files:
        digest.update(f"{file.relative_to(base).as_posix()} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
