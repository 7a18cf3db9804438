"""Which of a stage's checkpoints stay on disk."""

import shutil
from pathlib import Path

_STEP = "step-"
BEST, FINAL = "best", "final"


def step_folder(stage_folder: Path, step: int) -> Path:
    """Where the resumable checkpoint after ``step`` steps lies."""
    return stage_folder / f"{_STEP}{step:08d}"


def steps_kept(stage_folder: Path) -> list[int]:
    """Steps of the resumable checkpoints, ascending."""
    return sorted(int(path.name.removeprefix(_STEP)) for path in stage_folder.glob(f"{_STEP}*"))


def forget_all_but(stage_folder: Path, *, last: int) -> None:
    """Remove all but the ``last`` newest resumable checkpoints."""
    for step in steps_kept(stage_folder)[:-last]:
        shutil.rmtree(step_folder(stage_folder, step))
