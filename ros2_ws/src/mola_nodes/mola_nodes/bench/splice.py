"""Jerk over chunk boundaries: our splice beside a hard switch, on chunks that deliberately disagree.

A policy sends a new chunk every 200 ms; each is the same slow swing shifted by some hundredths of a radian to alternating
sides. Ours is the whole servo core. The hard switch interpolates the rows linearly and jumps to the newest chunk as soon as
its first row is due, as common loops do. Both stream to the twin's model of joints under servoJ, in lockstep; jerk is
taken from the positions, commanded and executed.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import Site, load_site
from mola_core.contracts.types import ActionChunk, ActionSpace, Joints, RobotMode, SafetyMode
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_types import ServoState
from mola_core.control.validation import prepare_chunk
from mola_twin.controller.joint_dynamics import JointDynamics

PERIOD_S = 0.002
_TICKS_PER_CHUNK = 100
_START_NS = NS_PER_S
_SITE = Path(__file__).parents[5] / "launch" / "sites" / "twin.yaml"
_SWING = np.array([0.15, 0.02, 0.04, 0.02, 0.05, 0.1])


@dataclass(frozen=True, slots=True)
class SpliceFigures:
    """One way of joining chunks."""

    way: str
    commanded_jerk_max: float
    """rad/s^3, worst joint, from third differences of what was sent."""
    commanded_jerk_rms: float
    executed_jerk_max: float
    """The same of the positions that the arm went through."""
    executed_jerk_rms: float
    executed_acceleration_max: float
    """rad/s^2."""
    tracking_rms: float
    """rad from the newest chunk's own rows at each instant, all joints; what smoothness costs."""


@dataclass
class _Arm:
    """The twin's joints, seen as the servo core sees an arm."""

    joints: JointDynamics
    robot_mode: RobotMode = RobotMode.RUNNING
    safety_mode: SafetyMode = SafetyMode.NORMAL

    @property
    def joint_positions(self) -> Joints:
        return np.array(self.joints.positions)


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``mola bench splice``."""
    parser = subparsers.add_parser("splice", help="jerk over chunk boundaries, ours beside a hard switch")
    parser.add_argument("--splices", type=int, default=10, help="disagreeing chunk boundaries (default: 10)")
    parser.add_argument("--disagreement", type=float, default=0.03, help="shift between chunks, rad (default: 0.03)")
    parser.add_argument("--site", type=Path, default=_SITE, help="site file (default: the twin's)")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run both ways; deterministic."""
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415 (keeps `mola --help` fast)

    if not 1 <= args.splices <= 1000 or not 0.0 < args.disagreement <= 0.2:
        raise MolaError(
            f"--splices {args.splices} must be 1..1000 and --disagreement {args.disagreement:g} within (0, 0.2] rad"
        )
    site = load_site(args.site)
    figures = compare(site, splices=args.splices, disagreement=args.disagreement)
    if args.json:
        settings = {"splices": args.splices, "disagreement_rad": args.disagreement}
        print_json(measurement_report("splice", {**settings, "ways": figures}))
    else:
        _print_table(figures, splices=args.splices, disagreement=args.disagreement)
    return 0


def compare(site: Site, *, splices: int, disagreement: float) -> list[SpliceFigures]:
    """Figures of both ways over the same chunks."""
    chunks = [_chunk(site, number, disagreement=disagreement) for number in range(splices + 1)]
    return [
        _figures("ours", *_run_ours(site, chunks), chunks=chunks, site=site),
        _figures("hard switch", *_run_hard_switch(site, chunks), chunks=chunks, site=site),
    ]


def _chunk(site: Site, number: int, *, disagreement: float) -> ActionChunk:
    sent_ns = _START_NS + round(number * _TICKS_PER_CHUNK * PERIOD_S * NS_PER_S)
    start_ns = sent_ns + 60 * NS_PER_MS
    times = (start_ns - _START_NS) / NS_PER_S + np.arange(20) / 30.0
    shift = 0.0 if number == 0 else disagreement / 2 * (-1) ** number
    return ActionChunk(
        sequence=number,
        source="bench",
        bundle_id="",
        stamp_ns=sent_ns,
        alive_stamp_ns=sent_ns,
        start_ns=start_ns,
        period_ns=round(NS_PER_S / 30),
        space=ActionSpace.JOINT,
        targets=np.array(site.arm.home) + _SWING * (1.0 - np.cos(2.0 * times))[:, None] + shift,
        gripper_openings=np.ones(20),
        execute_steps=10,
        final=False,
    )


def _ticks(chunks: list[ActionChunk]) -> range:
    return range(len(chunks) * _TICKS_PER_CHUNK)


def _run_ours(site: Site, chunks: list[ActionChunk]) -> tuple[np.ndarray, np.ndarray]:
    # The site's stale limit is shorter than the time between two chunks here, and staleness is not the subject.
    site = site.model_copy(update={"safety": site.safety.model_copy(update={"stale_ms": 1000})})
    core, arm = ServoCore(site), _Arm(JointDynamics(site.arm.home))
    core.resume()
    sent, executed = [], []
    for tick in _ticks(chunks):
        now_ns = _START_NS + round(tick * PERIOD_S * NS_PER_S)
        if tick % _TICKS_PER_CHUNK == 1:
            chunk = chunks[tick // _TICKS_PER_CHUNK]
            core.offer(prepare_chunk(chunk, site=site, now_ns=now_ns, commanded=arm.joint_positions))
        command = core.tick(now_ns, arm)
        if tick > 1 and command.state is not ServoState.EXECUTING:
            raise MolaError(f"the servo core left EXECUTING: {command.reason}; is the site's home clear of everything?")
        _advance(arm.joints, command.joint_target, site)
        sent.append(command.joint_target)
        executed.append(arm.joint_positions)
    return np.array(sent), np.array(executed)


def _run_hard_switch(site: Site, chunks: list[ActionChunk]) -> tuple[np.ndarray, np.ndarray]:
    joints = JointDynamics(site.arm.home)
    delay_ns = round(site.arm.servo.arm_delay_s * NS_PER_S)
    sent, executed = [], []
    for tick in _ticks(chunks):
        target = _newest_rows(chunks, _START_NS + round(tick * PERIOD_S * NS_PER_S) + delay_ns, site)
        _advance(joints, target, site)
        sent.append(target)
        executed.append(np.array(joints.positions))
    return np.array(sent), np.array(executed)


def _newest_rows(chunks: list[ActionChunk], stamp_ns: int, site: Site) -> Joints:
    """Linear interpolation of the rows of the newest chunk whose first row is due."""
    due = [chunk for chunk in chunks if chunk.start_ns <= stamp_ns]
    if not due:
        return np.array(site.arm.home)
    chunk = due[-1]
    row, rest_ns = divmod(stamp_ns - chunk.start_ns, chunk.period_ns)
    if row >= len(chunk.targets) - 1:
        return chunk.targets[-1]
    fraction = rest_ns / chunk.period_ns
    return (1.0 - fraction) * chunk.targets[row] + fraction * chunk.targets[row + 1]


def _advance(joints: JointDynamics, target: Joints, site: Site) -> None:
    joints.servo(target.tolist(), lookahead_s=site.arm.servo.lookahead_s, gain=site.arm.servo.gain)
    joints.step(PERIOD_S)


def _figures(
    way: str,
    sent: Float[np.ndarray, "ticks 6"],
    executed: Float[np.ndarray, "ticks 6"],
    *,
    chunks: list[ActionChunk],
    site: Site,
) -> SpliceFigures:
    delay_ns = round(site.arm.servo.arm_delay_s * NS_PER_S)
    wanted = np.array(
        [
            _newest_rows(chunks, _START_NS + round(tick * PERIOD_S * NS_PER_S) + delay_ns, site)
            for tick in _ticks(chunks)
        ]
    )
    jerks = [np.abs(np.diff(path, n=3, axis=0)) / PERIOD_S**3 for path in (sent, executed)]
    return SpliceFigures(
        way=way,
        commanded_jerk_max=float(jerks[0].max()),
        commanded_jerk_rms=float(np.sqrt((jerks[0] ** 2).mean())),
        executed_jerk_max=float(jerks[1].max()),
        executed_jerk_rms=float(np.sqrt((jerks[1] ** 2).mean())),
        executed_acceleration_max=float(np.abs(np.diff(executed, n=2, axis=0)).max() / PERIOD_S**2),
        tracking_rms=float(np.sqrt(((sent - wanted) ** 2).mean())),
    )


def _print_table(figures: list[SpliceFigures], *, splices: int, disagreement: float) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"{splices} splices of chunks that disagree by {disagreement:g} rad")
    table.add_column("way")
    for column in (
        "commanded jerk max rad/s³",
        "rms",
        "executed jerk max",
        "rms",
        "executed acceleration max rad/s²",
        "off the newest rows, rms mrad",
    ):
        table.add_column(column, justify="right")
    for row in figures:
        table.add_row(
            row.way,
            f"{row.commanded_jerk_max:.0f}",
            f"{row.commanded_jerk_rms:.1f}",
            f"{row.executed_jerk_max:.0f}",
            f"{row.executed_jerk_rms:.1f}",
            f"{row.executed_acceleration_max:.1f}",
            f"{1e3 * row.tracking_rms:.2f}",
        )
    Console().print(table)
