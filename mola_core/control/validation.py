"""The one door through which action chunks reach the arm.

Nothing that fails here has any effect: the arm keeps doing what it did before. What passes may still be cut short by
the limiter and the safety filter; the checks here are those whose failure means that the chunk cannot be meant.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import ChunkRejectedError, UnreachablePoseError
from mola_core.contracts.geometry import inverse_transform, transform_from_pose
from mola_core.contracts.site import SafetySpec, Site
from mola_core.contracts.types import JOINT_NAMES, NUM_JOINTS, ActionChunk, ActionSpace, Joints
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.kinematics import flange_from_tcp, inverse_kinematics

MAX_HORIZON = 64
MIN_PERIOD_NS, MAX_PERIOD_NS = 2 * NS_PER_MS, NS_PER_S
FUTURE_TOLERANCE_NS = 5 * NS_PER_MS
"""Stamps of other machines may run this far ahead of our clock."""
MAX_LEAD_NS = 2 * NS_PER_S
"""A chunk may not be meant for later than this."""
ABSURD_SPEED = 2.0
"""Consecutive rows that ask for more than this multiple of ``velocity_max`` cannot be meant."""
_MAX_ABSOLUTE_POSITION = 100.0
"""Keeps arithmetic finite before the precise checks; metres or radians."""


@dataclass(frozen=True)
class SolvedPlan:
    """What the inverse kinematics has found."""

    poses: Float[np.ndarray, "horizon 6"]
    joint_targets: Float[np.ndarray, "horizon 6"]


def prepare_chunk(
    chunk: ActionChunk,
    *,
    site: Site,
    now_ns: int,
    commanded: Joints,
    newest_sequence: int | None = None,
    solved: SolvedPlan | None = None,
) -> JointChunk:
    """Check ``chunk`` and bring it into joint space; TCP poses are solved locally, each row near the one before.

    ``commanded`` are the joint positions commanded now; they choose the branch of the inverse kinematics.
    ``newest_sequence`` is the newest one accepted from the same source, if any; the servo core checks it again.
    ``solved`` is the plan that the same source sent just before: said once more, it is not solved anew.

    Raises:
        ChunkRejectedError: with the offending value and what would be accepted.
        UnreachablePoseError: a row has no joint solution within the limits.
    """
    _check_shapes(chunk)
    _check_header(chunk)
    _check_stamps(chunk, safety=site.safety, now_ns=now_ns)
    if newest_sequence is not None and chunk.sequence <= newest_sequence:
        raise ChunkRejectedError(
            f"sequence {chunk.sequence} of {chunk.source!r} is out of order: {newest_sequence} was accepted before"
        )
    targets = chunk.targets.astype(np.float64)
    if chunk.space is ActionSpace.TCP:
        if solved is not None and np.array_equal(solved.poses, targets):
            targets = solved.joint_targets
        else:
            targets = _joint_targets(targets, site=site, commanded=commanded)
    _check_positions(targets, site=site)
    _check_speeds(targets, site=site, period_ns=chunk.period_ns)
    return JointChunk(
        sequence=chunk.sequence,
        source=chunk.source,
        bundle_id=chunk.bundle_id,
        stamp_ns=chunk.stamp_ns,
        alive_stamp_ns=chunk.alive_stamp_ns,
        start_ns=chunk.start_ns,
        period_ns=chunk.period_ns,
        joint_targets=targets,
        gripper_openings=chunk.gripper_openings.astype(np.float64),
        execute_steps=chunk.execute_steps,
        final=chunk.final,
    )


def _check_shapes(chunk: ActionChunk) -> None:
    targets, openings = chunk.targets, chunk.gripper_openings
    if targets.ndim != 2 or targets.shape[1] != NUM_JOINTS:
        raise ChunkRejectedError(f"targets have shape {targets.shape}, expected (horizon, {NUM_JOINTS})")
    horizon = len(targets)
    if not 1 <= horizon <= MAX_HORIZON:
        raise ChunkRejectedError(f"the chunk has {horizon} rows, expected 1..{MAX_HORIZON}")
    if openings.shape != (horizon,):
        raise ChunkRejectedError(f"gripper_openings have shape {openings.shape}, expected ({horizon},) like targets")
    # NaN fails every comparison, so one range check finds it too.
    if not (np.abs(targets) <= _MAX_ABSOLUTE_POSITION).all():
        row, column = np.argwhere(~(np.abs(targets) <= _MAX_ABSOLUTE_POSITION))[0]
        raise ChunkRejectedError(f"targets[{row}, {column}] = {targets[row, column]} is not a usable number")
    if not ((openings >= 0.0) & (openings <= 1.0)).all():
        row = int(np.argmin((openings >= 0.0) & (openings <= 1.0)))
        raise ChunkRejectedError(f"gripper_openings[{row}] = {openings[row]} is outside [0, 1]")


def _check_header(chunk: ActionChunk) -> None:
    if not MIN_PERIOD_NS <= chunk.period_ns <= MAX_PERIOD_NS:
        raise ChunkRejectedError(
            f"period_ns = {chunk.period_ns} is outside [{MIN_PERIOD_NS}, {MAX_PERIOD_NS}] (2 ms to 1 s)"
        )
    horizon = len(chunk.targets)
    if not (1 <= chunk.execute_steps <= horizon or chunk.is_release):
        raise ChunkRejectedError(
            f"execute_steps = {chunk.execute_steps} is outside 1..{horizon}, the chunk's rows (0 only if it is final)"
        )
    if chunk.sequence < 0:
        raise ChunkRejectedError(f"sequence = {chunk.sequence} is negative; it counts up from 0 per source")


def _check_stamps(chunk: ActionChunk, *, safety: SafetySpec, now_ns: int) -> None:
    latest = now_ns + FUTURE_TOLERANCE_NS
    for name, stamp_ns in (("stamp", chunk.stamp_ns), ("alive_stamp", chunk.alive_stamp_ns)):
        if stamp_ns > latest:
            raise ChunkRejectedError(
                f"{name} lies {(stamp_ns - now_ns) / NS_PER_MS:.1f} ms in the future; synchronise the clocks"
            )
    if chunk.alive_stamp_ns < chunk.stamp_ns:
        raise ChunkRejectedError(
            f"alive_stamp is {(chunk.stamp_ns - chunk.alive_stamp_ns) / NS_PER_MS:.1f} ms older than stamp"
        )
    _check_age("stamp", age_ns=now_ns - chunk.stamp_ns, limit_ms=safety.max_observation_age_ms)
    _check_age("alive_stamp", age_ns=now_ns - chunk.alive_stamp_ns, limit_ms=safety.stale_ms)
    if chunk.start_ns > now_ns + MAX_LEAD_NS:
        raise ChunkRejectedError(
            f"start lies {(chunk.start_ns - now_ns) / NS_PER_S:.2f} s ahead, more than {MAX_LEAD_NS / NS_PER_S:.0f} s"
        )
    end_ns = chunk.start_ns + (len(chunk.targets) - 1) * chunk.period_ns
    if end_ns + chunk.period_ns < now_ns:
        raise ChunkRejectedError(
            f"the chunk is late: its last row was meant for {(now_ns - end_ns) / NS_PER_MS:.1f} ms ago"
        )


def _check_age(name: str, *, age_ns: int, limit_ms: int) -> None:
    if age_ns > limit_ms * NS_PER_MS:
        raise ChunkRejectedError(f"{name} is stale: {age_ns / NS_PER_MS:.1f} ms old, the limit is {limit_ms} ms")


def _joint_targets(
    poses: Float[np.ndarray, "horizon 6"], *, site: Site, commanded: Joints
) -> Float[np.ndarray, "horizon 6"]:
    arm = site.arm
    tcp_from_flange = inverse_transform(flange_from_tcp(arm.tcp_offset))
    targets = np.empty_like(poses)
    near = commanded
    for row, pose in enumerate(poses):
        try:
            near = inverse_kinematics(
                transform_from_pose(pose) @ tcp_from_flange,
                near=near,
                position_min=arm.position_min,
                position_max=arm.position_max,
            )
        except UnreachablePoseError as error:
            raise UnreachablePoseError(f"targets[{row}]: {error}") from error
        targets[row] = near
    return targets


def _check_positions(targets: Float[np.ndarray, "horizon 6"], *, site: Site) -> None:
    low, high = np.array(site.arm.position_min), np.array(site.arm.position_max)
    inside = (targets >= low) & (targets <= high)
    if not inside.all():
        row, joint = np.argwhere(~inside)[0]
        raise ChunkRejectedError(
            f"targets[{row}] puts {JOINT_NAMES[joint]} at {targets[row, joint]:.4f} rad, "
            f"outside [{low[joint]}, {high[joint]}]"
        )


def _check_speeds(targets: Float[np.ndarray, "horizon 6"], *, site: Site, period_ns: int) -> None:
    if len(targets) < 2:
        return
    speeds = np.abs(targets[1:] - targets[:-1]) * (NS_PER_S / period_ns)
    allowed = ABSURD_SPEED * np.array(site.arm.velocity_max)
    if not (speeds <= allowed).all():
        row, joint = np.argwhere(speeds > allowed)[0]
        raise ChunkRejectedError(
            f"targets[{row}] to [{row + 1}] ask {JOINT_NAMES[joint]} for {speeds[row, joint]:.2f} rad/s, "
            f"more than {ABSURD_SPEED:.0f} times its velocity_max ({site.arm.velocity_max[joint]})"
        )
