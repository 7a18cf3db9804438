"""``mola bench loader``: samples a second of our loader beside LeRobot's own, on one dataset, with equal windows, batches and workers.

Runs alternate, so that a machine that slows down slows both. Ours reads a memory-mapped cache of decoded views; how long that took to
build is reported, and so is our loader without it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mola_core.contracts.errors import ConfigError, MolaError

_LEROBOT_SIDE = Path(__file__).with_name("lerobot_side.py")
_OFFSETS = (0, 2, 4, 6, 9, 12)
_HORIZON = 16


def register(subparsers: Any) -> None:
    """Add ``loader``."""
    parser = subparsers.add_parser("loader", help="samples a second of the data loader, beside lerobot's own")
    parser.add_argument("--dataset", type=Path, help="LeRobot v3 dataset made by us (one of synthetic pictures)")
    parser.add_argument(
        "--lerobot-python", type=Path, help="Python of an environment with lerobot 0.4.4; without it ours runs alone"
    )
    parser.add_argument("--batch", type=int, default=32, help="samples a batch (32)")
    parser.add_argument("--workers", type=int, default=2, help="threads of ours, processes of lerobot's (2)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each run (8)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    for name, low, high in (("batch", 1, 4096), ("workers", 0, 64), ("seconds", 0.1, 600.0), ("repeats", 1, 100)):
        if not low <= getattr(arguments, name) <= high:
            raise ConfigError(f"--{name} {getattr(arguments, name)} is outside {low}..{high}")
    with tempfile.TemporaryDirectory(prefix="mola-bench-loader-") as scratch:
        dataset = arguments.dataset or _synthetic(Path(scratch) / "synthetic")
        figures = measure(arguments, dataset, cache_folder=Path(scratch))
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415  # help stays fast

        print_json(measurement_report("bench loader", figures))
    else:
        _print(figures)
    return 0


@dataclass
class _Runs:
    """Samples a second of each run, by way."""

    ours_cached: list[float]
    ours_decoding: list[float]
    lerobot: list[float]


def measure(arguments: argparse.Namespace, dataset: Path, *, cache_folder: Path) -> dict[str, Any]:
    """Alternate the ways ``repeats`` times; medians, spreads and the ratio."""
    from mola_core.contracts.io_spec import CameraView  # noqa: PLC0415  # help stays fast
    from mola_core.data.opening import open_samples  # noqa: PLC0415
    from mola_core.data.sample import WindowSpec  # noqa: PLC0415
    from mola_core.data.sources.lerobot import LeRobotEpisodes  # noqa: PLC0415

    spec = LeRobotEpisodes(dataset, name=dataset.name).reader.spec
    views = tuple(CameraView(camera=name, width=size[0], height=size[1]) for name, size in spec.cameras.items())
    window = WindowSpec(views=views, offsets=_OFFSETS, horizon=_HORIZON)
    begin = time.perf_counter()
    cached = open_samples(dataset, window, cache_folder=cache_folder, quiet=True)
    build_s = time.perf_counter() - begin
    decoding = open_samples(dataset, window, cached=False)
    runs = _Runs([], [], [])
    for _ in range(arguments.repeats):
        runs.ours_cached.append(_ours(cached, arguments))
        if arguments.lerobot_python is not None:
            runs.lerobot.append(_lerobot(dataset, list(spec.cameras), arguments))
        runs.ours_decoding.append(_ours(decoding, arguments))
    figures: dict[str, Any] = {
        "dataset": {
            "rows": len(cached),
            "views": {v.camera: f"{v.width}x{v.height}" for v in views},
            "frames_a_camera": len(_OFFSETS),
        },
        "batch": arguments.batch,
        "workers": arguments.workers,
        "cache_build_s": build_s,
        "ours_cached": _spread(runs.ours_cached),
        "ours_decoding": _spread(runs.ours_decoding),
    }
    if runs.lerobot:
        figures["lerobot"] = _spread(runs.lerobot)
        figures["ratio_cached"] = median(runs.ours_cached) / median(runs.lerobot)
        figures["ratio_decoding"] = median(runs.ours_decoding) / median(runs.lerobot)
    return figures


def _spread(values: list[float]) -> dict[str, float]:
    return {"samples_per_s": median(values), "lowest": min(values), "highest": max(values)}


def _ours(source: Any, arguments: argparse.Namespace) -> float:
    from mola_core.data.loader import ShuffledOrder, load_batches  # noqa: PLC0415  # help stays fast

    order = ShuffledOrder(num_samples=len(source), batch_size=min(arguments.batch, len(source)), seed=0)
    stream = load_batches(source, order.from_position(0), workers=arguments.workers)
    next(stream)
    return _rate(lambda: len(next(stream)), seconds=arguments.seconds)


def _rate(step: Callable[[], int], *, seconds: float) -> float:
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        count += step()
    return count / (time.perf_counter() - begin)


def _lerobot(dataset: Path, cameras: list[str], arguments: argparse.Namespace) -> float:
    words = [arguments.lerobot_python, _LEROBOT_SIDE, dataset.resolve(), "--cameras", *cameras, "--offsets", *_OFFSETS]
    words += [
        "--horizon",
        _HORIZON,
        "--batch",
        arguments.batch,
        "--workers",
        arguments.workers,
        "--seconds",
        arguments.seconds,
    ]
    try:
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(f"--lerobot-python {arguments.lerobot_python} cannot be run: {error}") from error
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MolaError(f"lerobot's loader failed on {dataset}: {reason}")
    return float(json.loads(result.stdout.strip().splitlines()[-1])["samples_per_s"])


def _synthetic(path: Path) -> Path:
    """Two cameras of smooth moving colours, 10 episodes of 100 rows."""
    import numpy as np  # noqa: PLC0415  # help stays fast

    from mola_core.contracts.io_spec import DataContract  # noqa: PLC0415
    from mola_core.data.lerobot.writer import LeRobotWriter  # noqa: PLC0415

    contract = DataContract(cameras=("third_person", "wrist"), period_ns=100_000_000)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128] / 128.0
    with LeRobotWriter(path, contract=contract, cameras=dict.fromkeys(contract.cameras, (128, 128))) as writer:
        for episode in range(10):
            waves = rng.uniform(2.0, 9.0, size=(2, 3, 2))
            for row in range(100):
                phase = row / 10.0
                images = {
                    name: np.stack(
                        [127.5 + 127.5 * np.sin(a * x + b * y + phase) for a, b in waves[at]], axis=-1
                    ).astype(np.uint8)
                    for at, name in enumerate(contract.cameras)
                }
                writer.add_row(state=rng.normal(size=13), action=rng.normal(size=7), images=images)
            writer.end_episode(f"follow wave {episode}")
        writer.finalize()
    return path


def _print(figures: dict[str, Any]) -> None:
    out, data = sys.stdout, figures["dataset"]
    out.write(f"{data['rows']} samples of {data['views']}, {data['frames_a_camera']} frames a camera\n")
    out.write(f"batches of {figures['batch']}, {figures['workers']} workers\n")
    out.write(f"the cache took {figures['cache_build_s']:.1f} s to build\n")
    for way in ("ours_cached", "ours_decoding", "lerobot"):
        if way in figures:
            one = figures[way]
            out.write(f"{way:<14} {one['samples_per_s']:8.0f} samples/s  ({one['lowest']:.0f}..{one['highest']:.0f})\n")
    if "ratio_cached" in figures:
        out.write(f"ratio to lerobot: {figures['ratio_cached']:.1f} cached, {figures['ratio_decoding']:.1f} decoding\n")
