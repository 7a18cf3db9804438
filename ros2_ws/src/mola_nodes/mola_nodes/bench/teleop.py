"""How late the arm follows a person's device, and how soon it rests after the deadman is let go.

The whole path in the twin: a scripted device in the teleoperation node, the door, the servo process, and the controller's
own 500 Hz record of the arm. The delay is where the device's velocity and that of the TCP fit each other best; beside it stands
the part from the commanded to the measured motion, which is the arm's own and no software can take away.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float, Int

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import Site, load_site
from mola_core.control.kinematics import jacobian
from mola_nodes.bench.releases import WATCH_MS, Releases
from mola_nodes.bench.teleop_script import Script, releases, wiggle
from mola_twin.fault_client import FaultClient, TwinTrace

_SITE = Path(__file__).parents[5] / "launch" / "sites" / "twin.yaml"
_NODE = "import sys; from mola_nodes.teleop_node import main; sys.exit(main())"
_GRID_NS = 2 * NS_PER_MS
_LONGEST_LAG_MS = 500
_LEAD_S = 6.0
"""From the description of the script to its beginning: the node must be up and have found the others by then."""
_LEAVE_S = 10.0
_RELEASES_A_RUN = 30
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class TeleopFigures:
    """Times in ms."""

    device_to_arm_ms: float
    """Where the device's velocity and the TCP's measured one fit best."""
    correlation: float
    """How well they fit there, at most 1."""
    command_to_arm_ms: float
    """The part of it that is the arm's own: commanded to measured motion."""
    releases: int
    """That met a moving arm."""
    never_rested: int
    """Of them, those after which the arm still moved when the next push was near; the figures of rest are of the others."""
    rest_p50_ms: float
    """From the deadman's release to rest, measured by the controller."""
    rest_max_ms: float
    within_limit: int
    """Releases after which the arm was at rest in the time wished for."""
    limit_ms: float
    speed_at_release_p50: float
    """rad/s, fastest joint."""
    rests_ms: list[float]


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench teleop``."""
    parser = subparsers.add_parser("teleop", help="device to arm, and the deadman's release to rest, in the twin")
    parser.add_argument("--releases", type=int, default=60, help="how often the deadman is let go (default: 60)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the run for the delay (default: 30)")
    parser.add_argument("--stop-within-ms", type=float, default=150.0, help="the time wished for (default: 150)")
    parser.add_argument("--host", default="127.0.0.9", help="loopback address for the twin (default: 127.0.0.9)")
    parser.add_argument("--site", type=Path, default=_SITE, help="site file of the twin (default: the shipped one)")
    parser.add_argument("--log", type=Path, default=Path("runs/bench/teleop.log"), help="log of the graph")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the delay, then the releases."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 (keeps `mola --help` fast)

    if args.releases < 1 or not 5.0 <= args.seconds <= 50.0:
        raise MolaError(f"give --releases >= 1 and --seconds within 5..50, got {args.releases} and {args.seconds:g}")
    figures = measure(args)
    if args.json:
        print_json(measurement_report("teleop", {"figures": figures}))
    else:
        _print_table(figures)
    return 0


def measure(args: argparse.Namespace) -> TeleopFigures:
    """Both measurements on one graph."""
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="mola-bench-") as name:
        site_path = _write_site(args.site, Path(name) / "site.yaml", host=args.host)
        arguments = {"site": str(site_path), "policy": "none"}
        with RunningTwin(log_path=args.log, host=args.host, arguments=arguments) as twin:
            bench = _Bench(twin.operator, site_path=site_path, host=args.host, stop_within_ms=args.stop_within_ms)
            delay = bench.delay(seconds=args.seconds)
            found = bench.releases(count=args.releases)
    rests = [stop.rest_ms for stop in found.stops]
    if not rests:
        raise MolaError(
            f"the arm still moved {WATCH_MS} ms after each of {found.count} releases; see the log of the graph"
        )
    return TeleopFigures(
        device_to_arm_ms=delay.device_to_arm_ms,
        correlation=delay.correlation,
        command_to_arm_ms=delay.command_to_arm_ms,
        releases=found.count,
        never_rested=found.never_rested,
        rest_p50_ms=float(np.median(rests)),
        rest_max_ms=max(rests),
        within_limit=sum(rest <= args.stop_within_ms for rest in rests),
        limit_ms=args.stop_within_ms,
        speed_at_release_p50=float(np.median([stop.speed_at_fault for stop in found.stops])),
        rests_ms=[round(rest, 1) for rest in rests],
    )


@dataclass(frozen=True, slots=True)
class _Delay:
    device_to_arm_ms: float
    correlation: float
    command_to_arm_ms: float


class _Bench:
    """One graph; a teleoperation node for each script."""

    def __init__(self, operator: Any, *, site_path: Path, host: str, stop_within_ms: float) -> None:
        from mola_nodes import graph  # noqa: PLC0415

        self._operator = operator
        self._site_path = site_path
        self._site = load_site(site_path)
        self._host = host
        self._stop_within_ms = stop_within_ms
        self._commanded: list[Any] = []
        operator.subscribe(graph.COMMANDED, self._commanded.append)

    def delay(self, *, seconds: float) -> _Delay:
        for attempt in range(_ATTEMPTS):
            script = wiggle(start_ns=time.time_ns() + round(_LEAD_S * NS_PER_S), seconds=seconds, seed=attempt)
            stops = self._num_stops
            trace = self._play(script)
            if self._num_stops == stops:
                break
        stamps_ns, measured = tcp_velocity(trace, site=self._site, start_ns=script.start_ns, end_ns=script.end_ns)
        lag_ms, correlation = best_lag(script.velocity(stamps_ns)[:, 1], measured)
        commanded = self._commanded_velocity(stamps_ns)
        return _Delay(lag_ms, correlation, best_lag(commanded, measured)[0])

    def releases(self, *, count: int) -> Releases:
        found = Releases()
        for attempt in range(_ATTEMPTS + count // _RELEASES_A_RUN):
            wanted = min(_RELEASES_A_RUN, count - found.count)
            if not wanted:
                return found
            start_ns = time.time_ns() + round(_LEAD_S * NS_PER_S)
            script = releases(start_ns=start_ns, count=wanted, seed=attempt)
            trace = self._play(script)
            for release_ns in script.releases_ns:
                found.note(trace, release_ns=release_ns)
        if found.count < count:
            raise MolaError(f"only {found.count} of {count} releases met a moving arm; measure on a quieter machine")
        return found

    def _play(self, script: Script) -> TwinTrace:
        """Run the device through the script; the controller's record of it."""
        self._operator.resume()
        self._commanded.clear()
        with tempfile.TemporaryDirectory(prefix="mola-bench-") as name:
            device = Path(name) / "script.json"
            device.write_text(script.spec().model_dump_json(), encoding="utf-8")
            with _node(self._site_path, device, stop_within_ms=self._stop_within_ms) as node:
                while time.time_ns() < script.end_ns + NS_PER_S // 2:
                    if node.poll() is not None:
                        raise MolaError("the teleoperation node ended; its message is above")
                    self._resume_if_stopped()
                    time.sleep(0.05)
            with FaultClient(self._host) as twin:
                return twin.trace((time.time_ns() - script.start_ns) / NS_PER_S + 0.2)

    @property
    def _num_stops(self) -> int:
        status = self._operator.servo_status
        return 0 if status is None else status.stops + status.restarts

    def _resume_if_stopped(self) -> None:
        status = self._operator.servo_status
        if status is not None and status.state in {status.STOPPED, status.OFFLINE}:
            self._operator.resume()

    def _commanded_velocity(self, stamps_ns: Int[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
        from mola_nodes.conversions.wire import ns_from_time  # noqa: PLC0415

        states = sorted((ns_from_time(message.stamp), float(message.base_from_tcp[1])) for message in self._commanded)
        if len(states) < 2:
            raise MolaError("the controller said nothing of what it commands; see the log")
        times, places = (np.array(column, dtype=np.float64) for column in zip(*states, strict=True))
        place = np.interp(stamps_ns.astype(np.float64), times, places)
        return np.gradient(place, _GRID_NS / NS_PER_S)


def tcp_velocity(
    trace: TwinTrace, *, site: Site, start_ns: int, end_ns: int
) -> tuple[Int[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    """Velocity of the TCP along y, m/s, on an even grid of 2 ms between two stamps."""
    inside = (trace.stamps_ns >= start_ns) & (trace.stamps_ns <= end_ns)
    if inside.sum() < 100:
        raise MolaError("the controller's record does not cover the run; give fewer --seconds")
    rows = zip(trace.joint_positions[inside], trace.joint_velocities[inside], strict=True)
    velocity = np.array([jacobian(q, site.arm.tcp_offset)[1] @ qd for q, qd in rows])
    grid = np.arange(start_ns, end_ns, _GRID_NS)
    return grid, np.interp(grid.astype(np.float64), trace.stamps_ns[inside].astype(np.float64), velocity)


def best_lag(cause: Float[np.ndarray, "rows"], effect: Float[np.ndarray, "rows"]) -> tuple[float, float]:
    """By how many ms ``effect`` follows ``cause``, to a fraction of the grid, and how well they fit then (at most 1).

    Raises:
        MolaError: one of them never moves.
    """
    cause, effect = cause - cause.mean(), effect - effect.mean()
    norm = float(np.sqrt((cause**2).sum() * (effect**2).sum()))
    if norm == 0.0:
        raise MolaError("nothing moved, so nothing can be correlated; see the log of the graph")
    lags = np.arange(_LONGEST_LAG_MS * NS_PER_MS // _GRID_NS)
    fits = np.array([float(cause[: len(cause) - lag] @ effect[lag:]) for lag in lags]) / norm
    best = int(fits.argmax())
    shift = 0.0
    if 0 < best < len(fits) - 1:
        before, here, after = fits[best - 1 : best + 2]
        bend = before - 2.0 * here + after
        shift = 0.0 if bend == 0.0 else 0.5 * (before - after) / bend
    return float((best + shift) * _GRID_NS / NS_PER_MS), float(fits[best])


def _write_site(shipped: Path, path: Path, *, host: str) -> Path:
    content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    for section in (content["arm"], content["gripper"], *content["cameras"].values()):
        section["host"] = host
    # What is measured is how long things take; a crowded machine must not end the run.
    content["arm"]["servo"] = {**content["arm"].get("servo", {}), "watchdog_hz": 10}
    content["safety"] = {"stale_ms": 1000, "max_observation_age_ms": 2000, "heartbeat_ms": 1000}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@contextmanager
def _node(site_path: Path, device: Path, *, stop_within_ms: float) -> "Iterator[subprocess.Popen[bytes]]":
    values = {
        "site": site_path,
        "device": device,
        "stop_within_ms": float(stop_within_ms),
        "start_active": "true",
    }
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    with subprocess.Popen([sys.executable, "-c", _NODE, "--ros-args", *parameters]) as node:
        try:
            yield node
        finally:
            node.terminate()
            node.wait(_LEAVE_S)


def _print_table(figures: TeleopFigures) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="Teleoperation in the twin", show_header=False)
    table.add_row("device to arm", f"{figures.device_to_arm_ms:.0f} ms (correlation {figures.correlation:.3f})")
    table.add_row("of it the arm's own lag", f"{figures.command_to_arm_ms:.0f} ms")
    table.add_row(
        "release to rest",
        f"p50 {figures.rest_p50_ms:.0f} ms, max {figures.rest_max_ms:.0f} ms; {figures.within_limit} of "
        f"{figures.releases} within {figures.limit_ms:.0f} ms, {figures.never_rested} not within {WATCH_MS} ms",
    )
    table.add_row("speed at release", f"p50 {figures.speed_at_release_p50:.2f} rad/s (fastest joint)")
    Console().print(table)
