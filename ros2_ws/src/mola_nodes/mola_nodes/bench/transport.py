"""Two colour streams to three subscribers: the shipped DDS settings beside the stock ones, in the same run."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mola_core.contracts.errors import ConfigError, MolaError

NUM_STREAMS, NUM_SUBSCRIBERS = 2, 3
TARGET_MEDIAN_HOP_MS = 3.0
_FPS = 30
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "268435456"}
"""Image buffers come from the heap again instead of from fresh pages that the kernel has to clear each time."""


@dataclass(frozen=True, slots=True)
class TransportFigures:
    """One set-up: all streams to all subscribers."""

    set_up: str
    sent: int
    """Deliveries that should have happened: frames x streams x subscribers."""
    received: int
    hop_p50_ms: float
    hop_p99_ms: float
    hop_max_ms: float
    publisher_cpu_percent: float
    """Of one core, mean of the publishers."""
    subscriber_cpu_percent: float
    """Of one core, mean of the subscribers."""

    @property
    def lost(self) -> int:
        """Deliveries that did not happen."""
        return self.sent - self.received


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench transport``."""
    parser = subparsers.add_parser(
        "transport", help="two camera streams to three subscribers over DDS: losses, hop times"
    )
    parser.add_argument("--seconds", type=float, default=11.0, help="length of each of the two runs (default: 11)")
    parser.add_argument("--profile", type=Path, help="Fast DDS profile to measure (default: the one of mola_bringup)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure both set-ups; 0 also when the targets are missed, because machines differ."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 (keeps `mola --help` fast)

    profile = args.profile or shipped_profile()
    if not profile.is_file():
        raise ConfigError(f"there is no Fast DDS profile {profile}; without --profile the one of mola_bringup is used")
    if args.seconds <= 0:
        raise ConfigError(f"--seconds must be positive, got {args.seconds:g}")
    figures = [
        measure("stock", environment=stock_environment(), seconds=args.seconds),
        measure("shipped", environment=shipped_environment(profile), seconds=args.seconds),
    ]
    if args.json:
        setups = {figure.set_up: figure for figure in figures}
        print_json(measurement_report("transport", {"target_median_hop_ms": TARGET_MEDIAN_HOP_MS, **setups}))
    else:
        _print_table(figures)
    return 0


def shipped_profile() -> Path:
    """The Fast DDS profile that the launch files use.

    Raises:
        ConfigError: it is not installed.
    """
    from ament_index_python.packages import (  # noqa: PLC0415 (ROS is needed to run, not to show help)
        PackageNotFoundError,
        get_package_share_path,
    )

    candidates = [Path(__file__).parents[5] / "launch"]
    with suppress(PackageNotFoundError):
        candidates.insert(0, get_package_share_path("mola_bringup"))
    for folder in candidates:
        profile = folder / "dds" / "fastdds.xml"
        if profile.exists():
            return profile
    raise ConfigError("the Fast DDS profile of mola_bringup is not installed; build the workspace or give --profile")


def stock_environment() -> dict[str, str]:
    """The environment as a plain ROS installation has it."""
    own = {*_PROFILE_VARIABLES, *_MALLOC, "ROS_PYTHON_CHECK_FIELDS"}
    environment = {key: value for key, value in os.environ.items() if key not in own}
    # a domain of our own, so that a running graph is neither disturbed nor measured
    return {
        **environment,
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 101),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def shipped_environment(profile: Path) -> dict[str, str]:
    """The environment that our launch files set."""
    return {**stock_environment(), **dict.fromkeys(_PROFILE_VARIABLES, str(profile)), **_MALLOC}


def measure(set_up: str, *, environment: Mapping[str, str], seconds: float) -> TransportFigures:
    """Run all processes of one set-up.

    Raises:
        MolaError: one of them fails; quotes what it said.
    """
    frames = max(2, round(seconds * _FPS))
    subscribers = [
        _start(environment, "subscribe", "--streams", NUM_STREAMS, "--frames", frames) for _ in range(NUM_SUBSCRIBERS)
    ]
    publishers = [
        _start(environment, "publish", "--stream", stream, "--frames", frames, "--readers", NUM_SUBSCRIBERS)
        for stream in range(NUM_STREAMS)
    ]
    results = _collect([*subscribers, *publishers], timeout_s=seconds + 90.0)
    heard, sent = results[:NUM_SUBSCRIBERS], results[NUM_SUBSCRIBERS:]
    hops_ms = np.concatenate([np.array(result["hops_ms"]) for result in heard])
    if not hops_ms.size:
        raise MolaError(f"set-up {set_up!r}: not one frame arrived; is /dev/shm large enough?")
    return TransportFigures(
        set_up=set_up,
        sent=frames * NUM_STREAMS * NUM_SUBSCRIBERS,
        received=sum(sum(result["received"]) for result in heard),
        hop_p50_ms=float(np.percentile(hops_ms, 50)),
        hop_p99_ms=float(np.percentile(hops_ms, 99)),
        hop_max_ms=float(hops_ms.max()),
        publisher_cpu_percent=float(np.mean([result["cpu_percent"] for result in sent])),
        subscriber_cpu_percent=float(np.mean([result["cpu_percent"] for result in heard])),
    )


def _start(environment: Mapping[str, str], *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mola_nodes.bench.transport_worker", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _collect(processes: "Sequence[subprocess.Popen[str]]", *, timeout_s: float) -> list[dict[str, Any]]:
    try:
        return [_result(process, timeout_s=timeout_s) for process in processes]
    except subprocess.TimeoutExpired as error:
        raise MolaError(f"the bench did not end within {timeout_s:g} s; is the machine overloaded?") from error
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _result(process: "subprocess.Popen[str]", *, timeout_s: float) -> dict[str, Any]:
    output, complaint = process.communicate(timeout=timeout_s)
    if process.returncode != 0:
        last = (complaint.strip().splitlines() or ["no message"])[-1]
        raise MolaError(f"a process of the bench failed ({process.returncode}): {last}")
    result: dict[str, Any] = json.loads(output)
    return result


def _print_table(figures: Sequence[TransportFigures]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"{NUM_STREAMS} streams of 640x480 rgb8 at {_FPS} Hz to {NUM_SUBSCRIBERS} subscribers")
    columns = ("set-up", "sent", "received", "lost", "hop p50 ms", "p99", "max", "publisher CPU %", "subscriber CPU %")
    for column in columns:
        table.add_column(column, justify="left" if column == "set-up" else "right")
    for figure in figures:
        hops = (figure.hop_p50_ms, figure.hop_p99_ms, figure.hop_max_ms)
        cpu = (figure.publisher_cpu_percent, figure.subscriber_cpu_percent)
        counts = (figure.sent, figure.received, figure.lost)
        table.add_row(figure.set_up, *map(str, counts), *(f"{value:.2f}" for value in hops), *(f"{v:.1f}" for v in cpu))
    console = Console()
    console.print(table)
    stock, shipped = figures
    ratio = stock.hop_p50_ms / shipped.hop_p50_ms
    console.print(
        f"target: nothing lost, median hop <= {TARGET_MEDIAN_HOP_MS:g} ms; "
        f"shipped median is {ratio:.1f} times faster than stock"
    )
