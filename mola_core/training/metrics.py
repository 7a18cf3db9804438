"""What happened, as lines of JSON and for TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
from torch.utils.tensorboard import SummaryWriter

from mola_core.training.stage import Pictures

METRICS = "metrics.jsonl"


class MetricsWriter:
    """Writes under one stage's folder. Lines after ``first_step`` that a killed run has left are dropped."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        kept = [line for line in read_metrics(folder) if line["step"] <= first_step]
        (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._lines = (folder / METRICS).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def write(self, *, step: int, split: str, values: Mapping[str, float]) -> None:
        """One line; ``split`` is ``training`` or ``validation``."""
        self._lines.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)

    def show(self, *, step: int, pictures: Pictures) -> None:
        """Keep pictures as PNG files and for TensorBoard."""
        folder = self._folder / "pictures"
        folder.mkdir(exist_ok=True)
        for name, picture in pictures.items():
            cv2.imwrite(str(folder / f"{name}-{step:08d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close both."""
        self._lines.close()
        self._board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All complete lines, in the order written; a last line cut off by a kill is left out."""
    path = folder / METRICS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
