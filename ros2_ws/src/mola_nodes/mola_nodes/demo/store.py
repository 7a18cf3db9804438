"""Where a demo records: a folder of its own, cleared by the next demo, as video and log are written over."""

import shutil
from pathlib import Path

_MARK = ".of-a-demo"


def fresh_store(folder: Path) -> Path:
    """``folder``, empty where a demo had made it; what somebody else has put there stays, and the demo records beside it."""
    if (folder / _MARK).is_file():
        shutil.rmtree(folder)
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / _MARK).write_text("The next demo deletes this folder; move what is to be kept.\n", encoding="utf-8")
    return folder
