"""``mola bench record``: two cameras with depth recorded by the episode recorder, and by a plain writer, in the same run."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError, MolaError

if TYPE_CHECKING:
    from mola_nodes.demo.operator_client import OperatorClient

_FPS = 30
_BYTES_PER_PIXEL = 5
"""Colour and depth."""
_HEADROOM = 1.2
_UP_S = 60.0
_END_S = 180.0


@dataclass(frozen=True, slots=True)
class WriterFigures:
    """What one writer did."""

    writer: str
    seconds: float
    megabytes_per_s: float
    cpu_percent: float
    """Of one core."""
    streams: dict[str, dict[str, int]]
    """By topic: messages written, and lost by their running numbers."""

    @property
    def lost(self) -> int:
        """Of all streams."""
        return sum(stream["lost"] for stream in self.streams.values())


def register(subparsers: Any) -> None:
    """Add ``bench record``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "record",
        help="frames lost, CPU and MB/s of recording two colour and two depth streams, beside a plain writer",
        description=(
            "Record two colour and two depth streams at 30 Hz, with robot states, by the episode recorder and then by a plain "
            "writer (raw subscriptions, the mcap library) for the same time on the same disk. A frame is lost where its running "
            "number is missing. Both files are deleted afterwards."
        ),
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of recording, each (default: %(default)g)")
    parser.add_argument("--plain-seconds", type=float, help="of the plain writer, if it is to be shorter")
    parser.add_argument("--width", type=int, default=640, help="pixels (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="pixels (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to record to (default: here)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure both; 1 if the recorder lost anything."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 (keeps `mola --help` fast)

    _check(arguments)
    os.environ.update(_environment())
    with tempfile.TemporaryDirectory(prefix="mola-bench-record-", dir=arguments.folder) as folder:
        figures = _measure(arguments, Path(folder))
    if arguments.json:
        profile = {"width": arguments.width, "height": arguments.height, "hz": _FPS, "colour": 2, "depth": 2}
        print_json(measurement_report("record", {"profile": profile, **{item.writer: item for item in figures}}))
    else:
        _print_table(figures, arguments)
    return 1 if figures[0].lost else 0


def _check(arguments: argparse.Namespace) -> None:
    for name, value in (("seconds", arguments.seconds), ("plain-seconds", arguments.plain_seconds or 1.0)):
        if value <= 0:
            raise ConfigError(f"--{name} must be positive, got {value:g}")
    for name in ("width", "height"):
        if not 16 <= getattr(arguments, name) <= 1280:
            raise ConfigError(f"--{name} must be within 16..1280, got {getattr(arguments, name)}")
    if not arguments.folder.is_dir():
        raise ConfigError(f"there is no folder {arguments.folder}")
    needed = 2 * _FPS * arguments.width * arguments.height * _BYTES_PER_PIXEL * arguments.seconds * _HEADROOM
    free = shutil.disk_usage(arguments.folder).free
    if needed > free:
        raise ConfigError(
            f"{arguments.seconds:g} s of {arguments.width}x{arguments.height} need {needed / 1e9:.1f} GB, {free / 1e9:.1f} are free "
            f"in {arguments.folder.absolute()}; record a shorter time, smaller pictures, or to another --folder"
        )


def _environment() -> dict[str, str]:
    from mola_nodes.bench.transport import shipped_environment, shipped_profile  # noqa: PLC0415

    return shipped_environment(shipped_profile())


def _measure(arguments: argparse.Namespace, folder: Path) -> tuple[WriterFigures, WriterFigures]:
    from mola_nodes.bench.record_worker import ROLES  # noqa: PLC0415
    from mola_nodes.demo.operator_client import OperatorClient  # noqa: PLC0415

    size = ("--width", arguments.width, "--height", arguments.height)
    with ExitStack() as stack:
        for role in ROLES:
            stack.enter_context(_worker("camera", "--role", role, *size))
        stack.enter_context(_worker("states"))
        operator = stack.enter_context(OperatorClient(name="bench_record"))
        recorder = _by_recorder(operator, folder=folder, arguments=arguments)
        os.sync()  # what the first has left in memory is not for the second to write
        plain = _by_plain_writer(folder / "plain.mcap", seconds=arguments.plain_seconds or arguments.seconds)
    return recorder, plain


def _by_recorder(operator: "OperatorClient", *, folder: Path, arguments: argparse.Namespace) -> WriterFigures:
    from mola_interfaces.msg import EpisodeStatus  # noqa: PLC0415
    from mola_interfaces.srv import EpisodeControl  # noqa: PLC0415

    from mola_nodes import graph  # noqa: PLC0415

    statuses: list[EpisodeStatus] = []
    operator.subscribe(graph.EPISODE_STATUS, statuses.append)
    store, site = folder / "store", _write_site(folder, width=arguments.width, height=arguments.height)
    with _recorder_node(site=site, store=store) as process:
        _activate(operator)
        operator.wait_for(
            lambda: bool(statuses) and statuses[-1].state == EpisodeStatus.IDLE, "the recorder's gate", timeout_s=_UP_S
        )
        start = EpisodeControl.Request(command=EpisodeControl.Request.START, instruction="bench", operator_name="bench")
        _ask(operator, start)
        before_s, started_s = _cpu_s(process.pid), time.monotonic()
        _sleep_while(arguments.seconds, lambda: statuses[-1].state == EpisodeStatus.RECORDING or statuses[-1].reason)
        cpu_s, seconds = _cpu_s(process.pid) - before_s, time.monotonic() - started_s
        keep = EpisodeControl.Request(command=EpisodeControl.Request.KEEP, outcome=EpisodeControl.Request.SUCCESS)
        episode_id = _ask(operator, keep)
    streams, size_bytes, lost = _streams_of(store / episode_id)
    if lost:
        sys.stderr.write(f"the recorder says that it lost: {lost}\n")
    shutil.rmtree(store)
    return WriterFigures(
        writer="recorder",
        seconds=seconds,
        megabytes_per_s=size_bytes / seconds / 1e6,
        cpu_percent=100.0 * cpu_s / seconds,
        streams=streams,
    )


def _by_plain_writer(out: Path, *, seconds: float) -> WriterFigures:
    command = [
        sys.executable,
        "-m",
        "mola_nodes.bench.record_worker",
        "plain",
        "--out",
        str(out),
        "--seconds",
        str(seconds),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 2 * _END_S, check=False)
    out.unlink(missing_ok=True)
    if result.returncode != 0:
        raise MolaError(f"the plain writer failed: {(result.stderr.strip().splitlines() or ['no message'])[-1]}")
    return WriterFigures(writer="plain", **json.loads(result.stdout))


def _streams_of(path: Path) -> tuple[dict[str, dict[str, int]], int, dict[str, int]]:
    """Counts by topic of the streams that the plain writer takes too, size, and losses as the recorder counted them."""
    from mola_core.data.episodes.reader import EpisodeReader  # noqa: PLC0415
    from mola_nodes.bench.record_worker import stream_count  # noqa: PLC0415

    sequences: dict[str, list[int]] = {}
    with EpisodeReader(path) as episode:
        for raw in episode.raw_messages():
            sequences.setdefault(raw.topic, []).append(raw.sequence)
        ours = {topic for camera in episode.meta.streams.cameras.values() for topic in (camera.color, camera.depth)}
        ours |= {
            topic for camera in episode.meta.streams.cameras.values() for topic in (camera.metadata, camera.color_info)
        }
        ours |= {episode.meta.streams.robot_state, episode.meta.streams.commanded}
        streams = {topic: stream_count(seen) for topic, seen in sequences.items() if topic in ours}
        return streams, sum(file.stat().st_size for file in path.iterdir()), dict(episode.meta.lost)


def _ask(operator: "OperatorClient", request: Any) -> str:
    from mola_nodes import graph  # noqa: PLC0415

    answer = operator.call(graph.EPISODE_CONTROL, request, timeout_s=_END_S)
    if not answer.success:
        raise MolaError(f"the recorder refuses: {answer.message}")
    return str(answer.episode_id)


def _activate(operator: "OperatorClient") -> None:
    from lifecycle_msgs.msg import Transition  # noqa: PLC0415
    from lifecycle_msgs.srv import ChangeState  # noqa: PLC0415

    from mola_nodes import graph  # noqa: PLC0415

    service = graph.Service(f"{graph.NAMESPACE}/{graph.EPISODE_RECORDER}/change_state", ChangeState)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        answer = operator.call(service, ChangeState.Request(transition=Transition(id=transition)), timeout_s=_UP_S)
        if not answer.success:
            raise MolaError("the recorder does not come up; its message is above")


def _sleep_while(seconds: float, well: "Callable[[], object]") -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and well():
        time.sleep(0.1)


@contextmanager
def _recorder_node(*, site: Path, store: Path) -> "Iterator[subprocess.Popen[bytes]]":
    code = "import sys; from mola_nodes.episode_recorder_node import main; sys.exit(main())"
    parameters = [f"site:={site}", f"store:={store}", "min_free_gb:=0.5"]
    words = [word for parameter in parameters for word in ("-p", parameter)]
    with subprocess.Popen([sys.executable, "-c", code, "--ros-args", "--log-level", "warn", *words]) as process:
        yield from _until_left(process)


@contextmanager
def _worker(*arguments: object) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "mola_nodes.bench.record_worker", *map(str, arguments)]
    with subprocess.Popen(command) as process:
        yield from _until_left(process)


def _until_left(process: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=_UP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _write_site(folder: Path, *, width: int, height: int) -> Path:
    """The twin's site with cameras of this size: the recorder reads it, nobody connects to anything."""
    import yaml  # noqa: PLC0415
    from ament_index_python.packages import get_package_share_path  # noqa: PLC0415

    content = yaml.safe_load(
        (Path(get_package_share_path("mola_bringup")) / "sites" / "twin.yaml").read_text(encoding="utf-8")
    )
    for camera in content["cameras"].values():
        camera.update({"width": max(width, 64), "height": max(height, 48), "fps": _FPS, "depth": True})
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _print_table(figures: tuple[WriterFigures, ...], arguments: argparse.Namespace) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    title = f"2 × colour and depth, {arguments.width}x{arguments.height} at {_FPS} Hz, {arguments.seconds:g} s each"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), pad_edge=False, title_justify="left")
    table.add_column("stream", no_wrap=True)
    for figure in figures:
        table.add_column(f"{figure.writer}\nwritten", justify="right")
        table.add_column("\nlost", justify="right")
    for topic in sorted(figures[0].streams):
        cells = [figure.streams.get(topic, {"written": 0, "lost": 0}) for figure in figures]
        name = topic.removeprefix("/mola/").replace("/image_raw", "").replace("aligned_depth_to_color", "depth")
        table.add_row(name, *(str(cell[key]) for cell in cells for key in ("written", "lost")))
    table.add_row()
    table.add_row("MB/s", *(text for figure in figures for text in (f"{figure.megabytes_per_s:.1f}", "")))
    table.add_row("CPU, % of a core", *(text for figure in figures for text in (f"{figure.cpu_percent:.1f}", "")))
    console = Console()
    console.print(table)
    recorder, plain = figures
    ratio = (recorder.cpu_percent / recorder.megabytes_per_s) / (plain.cpu_percent / plain.megabytes_per_s)
    console.print(
        f"target: nothing lost; a megabyte costs the recorder {ratio:.2f} times the processor time of the plain writer "
        "(it also takes every other topic of the graph, and makes the file recoverable)",
        soft_wrap=True,
    )
