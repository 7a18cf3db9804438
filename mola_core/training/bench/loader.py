"""``mola bench loader``: clips a second of what stage I reads beside LeRobot's own loader, on one dataset, with equal windows, batches
and workers.

Ours is what training runs: :func:`mola_core.training.batches.parts_of_steps` over stage I's source of pictures. A clip is one
camera's frames at the window's offsets; a sample of LeRobot's has one for each camera, and is counted so. Runs alternate, so that a
machine that slows down slows both. Ours reads a memory-mapped cache of decoded views; how long that took to build is reported, and so
is our loader without it. LeRobot's makes its frames floats; ours leaves them bytes until they are on the device, where that costs next
to nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_core.training.stage import BatchSource

_LEROBOT_SIDE = Path(__file__).with_name("lerobot_side.py")
_OFFSETS = (0, 2, 4, 6, 9, 12)
_ENDLESS = 2**40
_WARM_UP = 3
"""Batches before the clock starts: threads start, files are opened."""


def register(subparsers: Any) -> None:
    """Add ``loader``."""
    parser = subparsers.add_parser("loader", help="clips a second of stage I's data loader, beside lerobot's own")
    parser.add_argument("--dataset", type=Path, help="LeRobot v3 dataset made by us (one of synthetic pictures)")
    parser.add_argument(
        "--lerobot-python", type=Path, help="Python of an environment with lerobot 0.4.4; without it ours runs alone"
    )
    parser.add_argument(
        "--batch", type=int, default=32, help="clips a batch of ours, samples a batch of lerobot's (32)"
    )
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
    """Clips a second of each run, by way."""

    ours_cached: list[float]
    ours_decoding: list[float]
    lerobot: list[float]


def measure(arguments: argparse.Namespace, dataset: Path, *, cache_folder: Path) -> dict[str, Any]:
    """Alternate the ways ``repeats`` times; medians, spreads and the ratio."""
    from mola_core.data.sources.lerobot import LeRobotEpisodes  # noqa: PLC0415  # help stays fast

    sizes = LeRobotEpisodes(dataset, name=dataset.name).reader.spec.cameras
    begin = time.perf_counter()
    cached = stage_1_source(dataset, sizes, cache_folder=cache_folder)
    build_s = time.perf_counter() - begin
    decoding = stage_1_source(dataset, sizes, cache_folder=None)
    runs = _Runs([], [], [])
    for _ in range(arguments.repeats):
        runs.ours_cached.append(_ours(cached, arguments))
        if arguments.lerobot_python is not None:
            runs.lerobot.append(len(sizes) * _lerobot(dataset, list(sizes), arguments))
        runs.ours_decoding.append(_ours(decoding, arguments))
    figures: dict[str, Any] = {
        "dataset": {
            "clips": len(cached),
            "views": {name: f"{width}x{height}" for name, (width, height) in sizes.items()},
            "frames_a_clip": len(_OFFSETS),
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
    return {"clips_per_s": median(values), "lowest": min(values), "highest": max(values)}


def stage_1_source(dataset: Path, sizes: Mapping[str, tuple[int, int]], *, cache_folder: Path | None) -> "BatchSource":
    """What stage I reads of ``dataset`` where its autoencoder runs along; ``sizes`` are (width, height) of each camera's views.

    Frames are decoded into ``cache_folder``, or when they are needed where it is None.
    """
    from mola_core.contracts.io_spec import CameraView  # noqa: PLC0415  # help stays fast
    from mola_core.data.opening import open_samples  # noqa: PLC0415
    from mola_core.data.sample import SampleSource, WindowSpec  # noqa: PLC0415
    from mola_core.data.sources.lerobot import LeRobotEpisodes  # noqa: PLC0415
    from mola_core.data.windows import Split  # noqa: PLC0415
    from mola_core.nets.config import LanguageConfig  # noqa: PLC0415
    from mola_core.nets.language import build_encoder  # noqa: PLC0415
    from mola_core.training.datasets import part_of  # noqa: PLC0415
    from mola_core.training.stage1_video import FrameWindows  # noqa: PLC0415
    from mola_core.training.tensors import EncodedSentences  # noqa: PLC0415

    def opener(window: WindowSpec, split: Split) -> SampleSource:
        cached = cache_folder is not None
        return open_samples(dataset, window, cache_folder=cache_folder, cached=cached, split=split, quiet=True)

    views = tuple(CameraView(camera=name, width=size[0], height=size[1]) for name, size in sizes.items())
    part = part_of(LeRobotEpisodes(dataset, name=dataset.name), views=views, weight=1.0, opener=opener)
    sentences = EncodedSentences(part.rows.sentences, encoder=build_encoder(LanguageConfig(encoder="minilm")))
    window = WindowSpec(views=views, offsets=_OFFSETS, horizon=0)
    return FrameWindows(part, source=part.open(window), sentences=sentences)


def _ours(source: "BatchSource", arguments: argparse.Namespace) -> float:
    from mola_core.training.batches import parts_of_steps  # noqa: PLC0415  # help stays fast
    from mola_core.training.order import Parts, SampleOrder  # noqa: PLC0415
    from mola_core.training.stage import whole_of  # noqa: PLC0415

    size = min(arguments.batch, len(source))
    order = SampleOrder((whole_of(source),), batch_size=size, seed=0)
    parts = Parts(batch_size=size, world_size=1, accumulate=1)
    stream = parts_of_steps(
        source, order=order, parts=parts, rank=0, first_step=0, steps=_ENDLESS, workers=arguments.workers
    )
    with closing(stream):
        for _ in range(_WARM_UP):
            next(stream)
        return _rate(lambda: len(next(stream)[0]["mask"]), seconds=arguments.seconds)


def _rate(step: Callable[[], int], *, seconds: float) -> float:
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        count += step()
    return count / (time.perf_counter() - begin)


def _lerobot(dataset: Path, cameras: list[str], arguments: argparse.Namespace) -> float:
    words = [arguments.lerobot_python, _LEROBOT_SIDE, dataset.resolve(), "--cameras", *cameras, "--offsets", *_OFFSETS]
    words += ["--batch", arguments.batch, "--workers", arguments.workers, "--seconds", arguments.seconds]
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
    out.write(f"{data['clips']} clips of {data['frames_a_clip']} frames, views {data['views']}\n")
    out.write(f"batches of {figures['batch']}, {figures['workers']} workers\n")
    out.write(f"the cache took {figures['cache_build_s']:.1f} s to build\n")
    for way in ("ours_cached", "ours_decoding", "lerobot"):
        if way in figures:
            one = figures[way]
            out.write(f"{way:<14} {one['clips_per_s']:8.0f} clips/s  ({one['lowest']:.0f}..{one['highest']:.0f})\n")
    if "ratio_cached" in figures:
        out.write(f"ratio to lerobot: {figures['ratio_cached']:.1f} cached, {figures['ratio_decoding']:.1f} decoding\n")
