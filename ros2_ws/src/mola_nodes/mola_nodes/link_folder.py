"""Where the shared blocks between controller node and servo process lie."""

import os
import shutil
from pathlib import Path

_PARENT = Path("/dev/shm")  # noqa: S108 (memory, not a temporary file; one folder a process, opened with mode 0700)
_PREFIX = "mola_servo_"


def link_folder_of(pid: int) -> Path:
    """The folder of the controller node with this process id."""
    return _PARENT / f"{_PREFIX}{pid}"


def make_link_folder() -> Path:
    """A folder of this process, in memory; those of processes that died without removing theirs are removed."""
    for folder in _PARENT.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX)
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    folder = link_folder_of(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder
