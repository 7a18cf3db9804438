"""LeRobot's own loader over a dataset, run by the Python of an environment that has lerobot (0.4.4): samples a second as JSON.

A script in a process of its own; it imports nothing of this project. ``--cameras`` and ``--offsets`` ask for the same window as ours:
those frames of every camera. The row's state and action come with them, which costs little beside the pictures.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cameras", nargs="+", required=True)
    parser.add_argument("--offsets", type=int, nargs="+", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    print(json.dumps(_measure(arguments)))  # noqa: T201  # the answer to the process that asked


def _measure(arguments: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(1)
    info = json.loads((arguments.dataset / "meta" / "info.json").read_text(encoding="utf-8"))
    period = 1.0 / info["fps"]
    stamps = {
        f"observation.images.{name}": [offset * period for offset in arguments.offsets] for name in arguments.cameras
    }
    dataset = LeRobotDataset(f"local/{arguments.dataset.name}", root=arguments.dataset, delta_timestamps=stamps)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=arguments.batch,
        shuffle=True,
        num_workers=arguments.workers,
        drop_last=True,
        persistent_workers=False,
    )
    stream = _endless(loader)
    next(stream)  # workers start, files open
    begin, count, pixels = time.perf_counter(), 0, 0.0
    while time.perf_counter() - begin < arguments.seconds:
        batch = next(stream)
        count += len(batch["action"])
        pixels += float(batch[f"observation.images.{arguments.cameras[0]}"][0, 0, 0, 0, 0])
    elapsed = time.perf_counter() - begin
    return {"samples_per_s": count / elapsed, "samples": count, "touched": pixels}


def _endless(loader: torch.utils.data.DataLoader[Any]) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


if __name__ == "__main__":
    main()
