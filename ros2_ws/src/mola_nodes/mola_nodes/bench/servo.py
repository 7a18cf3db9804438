"""Deadlines of the servo loop with a CPU-bound process beside it, and of a reference loop in the same run.

Ours is the real servo process behind its supervisor, moving the twin's arm; the reference is
:mod:`mola_nodes.bench.reference_loop`. Both stream to the twin's controller over a loopback address, once with the default
scheduling and once with SCHED_FIFO where the machine allows it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Int64

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.control.servo_types import ServoState
from mola_core.control.validation import prepare_chunk
from mola_nodes.servo_supervisor import ServoSupervisor

PERIOD_NS = 2 * NS_PER_MS
FIFO_PRIORITY = 50
_CHUNK_S = 0.1
_UP_S = 60.0
_SWING = np.array([0.2, 0.03, 0.05, 0.03, 0.1, 0.2])
_SITE = Path(__file__).parents[5] / "launch" / "sites" / "twin.yaml"


@dataclass(frozen=True, slots=True)
class ServoFigures:
    """One loop under one scheduling; times in ms."""

    loop: str
    scheduling: str
    commands: int
    rate_hz: float
    late_p50_ms: float
    """How much later than one period after the one before a command was sent; 0 for early ones."""
    late_p99_ms: float
    late_max_ms: float
    misses: int
    """Commands sent a whole period late or more."""
    deadline_p50_ms: float | None
    """Begin of a tick after its absolute deadline; the reference loop has no deadlines."""
    deadline_p99_ms: float | None
    deadline_max_ms: float | None
    ended: str = ""
    """Why the loop did not last the whole time; empty if it did."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench servo``."""
    parser = subparsers.add_parser("servo", help="500 Hz deadlines beside a CPU-bound process, and a reference loop's")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each of the runs (default: 60)")
    parser.add_argument("--host", default="127.0.0.9", help="loopback address for the twin (default: 127.0.0.9)")
    parser.add_argument("--site", type=Path, default=_SITE, help="site file of the twin (default: the shipped one)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure all loops, one after the other."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 (keeps `mola --help` fast)

    if args.seconds < 1.0:
        raise MolaError(f"--seconds {args.seconds:g} is too short to measure anything; give at least 1")
    figures = [
        measure(priority)
        for priority in ((0, FIFO_PRIORITY) if fifo_is_allowed() else (0,))
        for measure in (
            lambda priority: _measure_ours(args, priority=priority),
            lambda priority: _measure_reference(args, priority=priority),
        )
    ]
    if args.json:
        print_json(measurement_report("servo", {"seconds": args.seconds, "loops": figures}))
    else:
        _print_table(figures)
    return 0


def fifo_is_allowed() -> bool:
    """Whether this process could use SCHED_FIFO; tried in a child."""
    code = f"import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param({FIFO_PRIORITY}))"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def figures_of(
    sent_ns: Int64[np.ndarray, "commands"],
    *,
    loop: str,
    priority: int,
    lateness_ns: np.ndarray | None = None,
    ended: str = "",
) -> ServoFigures:
    """Figures of a record of sending times."""
    if len(sent_ns) < 2:
        raise MolaError(f"the {loop} loop sent {len(sent_ns)} commands; see its messages above")
    intervals = np.diff(sent_ns)
    late = np.maximum(intervals - PERIOD_NS, 0) / NS_PER_MS
    p50, p99 = np.percentile(late, [50, 99])
    deadline = None if lateness_ns is None else np.maximum(lateness_ns, 0) / NS_PER_MS
    quantiles = (None, None, None) if deadline is None else (*np.percentile(deadline, [50, 99]), deadline.max())
    return ServoFigures(
        loop=loop,
        scheduling=f"SCHED_FIFO {priority}" if priority else "default",
        commands=len(sent_ns),
        rate_hz=float((len(sent_ns) - 1) * NS_PER_S / (sent_ns[-1] - sent_ns[0])),
        late_p50_ms=float(p50),
        late_p99_ms=float(p99),
        late_max_ms=float(late.max()),
        misses=int((intervals >= 2 * PERIOD_NS).sum()),
        deadline_p50_ms=None if quantiles[0] is None else float(quantiles[0]),
        deadline_p99_ms=None if quantiles[1] is None else float(quantiles[1]),
        deadline_max_ms=None if quantiles[2] is None else float(quantiles[2]),
        ended=ended,
    )


def _measure_ours(args: argparse.Namespace, *, priority: int) -> ServoFigures:
    with _scene(args, priority=priority) as folder:
        site_path, record = folder / "site.yaml", folder / "sent.npy"
        command = (sys.executable, "-m", "mola_nodes.servo_process", "--record", str(record))
        with ServoSupervisor(site_path, folder / "link", command=command) as supervisor:
            _engage(supervisor)
            ended = _swing(supervisor, site_path, seconds=args.seconds)
        if not record.exists():
            raise MolaError(f"the servo process left no record ({ended or 'killed'}); measure on a quieter machine")
        rows = np.load(record)
        wanted = rows[-int(args.seconds * NS_PER_S / PERIOD_NS) :]  # without the wait for the operator
        return figures_of(wanted[:, 0], loop="ours", priority=priority, lateness_ns=wanted[:, 1], ended=ended)


def _measure_reference(args: argparse.Namespace, *, priority: int) -> ServoFigures:
    with _scene(args, priority=priority) as folder:
        out = folder / "sent.npy"
        command = [sys.executable, "-m", "mola_nodes.bench.reference_loop", "--host", args.host, "--out", str(out)]
        command += ["--seconds", str(args.seconds), "--realtime-priority", str(priority)]
        result = subprocess.run(command, check=False, timeout=4 * args.seconds + _UP_S, capture_output=True, text=True)
        if not out.exists():
            raise MolaError(f"the reference loop failed: {' '.join(result.stderr.split())[-300:]}")
        return figures_of(np.load(out), loop="reference", priority=priority)


@contextmanager
def _scene(args: argparse.Namespace, *, priority: int) -> Iterator[Path]:
    """A twin's controller, a process that burns a core, and a folder with a site file."""
    with tempfile.TemporaryDirectory(prefix="mola-bench-") as name:
        folder = Path(name)
        site = yaml.safe_load(args.site.read_text(encoding="utf-8"))
        site["arm"]["host"] = args.host
        # Deadlines are measured here, not stops: a crowded machine must not end the run.
        servo = {"realtime_priority": priority, "watchdog_hz": 10}
        site["arm"]["servo"] = {**site["arm"].get("servo", {}), **servo}
        site["safety"] = {"stale_ms": 2000, "heartbeat_ms": 1000}
        (folder / "site.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
        # The twin is not what is measured; it runs as well as it can in every row.
        twin_priority = FIFO_PRIORITY + 10 if fifo_is_allowed() else 0
        with _process(_twin_command(args.host, priority=twin_priority), ready=True), _process(_BURN, ready=False):
            yield folder


_BURN = [sys.executable, "-c", "while True: pass"]


def _twin_command(host: str, *, priority: int) -> list[str]:
    code = (
        "import sys; from mola_twin.serve import ServeOptions, serve\n"
        f"options = ServeOptions(host={host!r}, run_dir=None, cell=False, render=False, allow_remote=False, "
        f"realtime_priority={priority}, verbose=False)\n"
        "sys.exit(serve(options, announce=lambda line: print(line, flush=True)))"
    )
    return [sys.executable, "-c", code]


@contextmanager
def _process(command: list[str], *, ready: bool) -> Iterator[None]:
    """A child that lives as long as the context; with ``ready`` it says so in its first line."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if ready and (process.stdout is None or not process.stdout.readline()):
                raise MolaError("the twin's controller does not come up; see its message above")
            yield
        finally:
            process.terminate()


def _engage(supervisor: ServoSupervisor) -> None:
    deadline = time.monotonic() + _UP_S
    resumed = False
    while time.monotonic() < deadline:
        servo = supervisor.status().servo
        if servo is not None and servo.state is ServoState.HOLDING:
            return
        if servo is not None and not resumed:
            supervisor.resume()
            resumed = True
        time.sleep(0.02)
    raise MolaError(f"the servo process did not engage: {supervisor.status().problem}")


def _swing(supervisor: ServoSupervisor, site_path: Path, *, seconds: float) -> str:
    """Stream chunks at 10 Hz as a policy would; returns why the servo process left early, or nothing."""
    site = load_site(site_path)
    home = np.array(site.arm.home)
    start_ns = time.time_ns()
    end = time.monotonic() + seconds
    sequence = 0
    while time.monotonic() < end:
        now_ns = time.time_ns()
        first_ns = now_ns + 80 * NS_PER_MS
        times = (first_ns - start_ns) / NS_PER_S + np.arange(32) / 30.0
        status = supervisor.status()
        if status.restarts:
            return status.problem or "the servo process was replaced"
        sequence += 1
        chunk = ActionChunk(
            sequence=sequence,
            source="bench",
            bundle_id="",
            stamp_ns=now_ns,
            alive_stamp_ns=now_ns,
            start_ns=first_ns,
            period_ns=round(NS_PER_S / 30),
            space=ActionSpace.JOINT,
            targets=home + _SWING * (1.0 - np.cos(1.5 * times))[:, None],
            gripper_openings=np.full(32, 1.0),
            execute_steps=16,
            final=False,
        )
        supervisor.offer(prepare_chunk(chunk, site=site, now_ns=now_ns, commanded=home))
        time.sleep(_CHUNK_S)
    return ""


def _print_table(figures: list[ServoFigures]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"Servo loop at {NS_PER_S // PERIOD_NS} Hz beside a CPU-bound process, {os.cpu_count()} cores")
    for column in ("loop", "scheduling"):
        table.add_column(column)
    for column in ("rate Hz", "late p50 ms", "p99", "max", "≥ 1 period", "deadline p50 ms", "p99", "max"):
        table.add_column(column, justify="right")
    for row in figures:
        deadlines = (row.deadline_p50_ms, row.deadline_p99_ms, row.deadline_max_ms)
        table.add_row(
            row.loop,
            row.scheduling,
            f"{row.rate_hz:.1f}",
            f"{row.late_p50_ms:.3f}",
            f"{row.late_p99_ms:.3f}",
            f"{row.late_max_ms:.3f}",
            str(row.misses),
            *("–" if value is None else f"{value:.3f}" for value in deadlines),
        )
    Console().print(table)
    for row in figures:
        if row.ended:
            Console().print(f"{row.loop} ({row.scheduling}) ended early: {row.ended}")
    if not any(row.scheduling.startswith("SCHED_FIFO") for row in figures):
        Console().print("SCHED_FIFO is not allowed here; grant CAP_SYS_NICE or an rtprio limit to measure it too.")
