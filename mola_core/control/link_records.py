"""Layout of the records between controller node and servo process, and their conversion to and from types of ours."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mola_core.contracts.geometry import Pose
from mola_core.contracts.types import NUM_JOINTS, Joints
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.servo_types import ChunkOutcome, Rung, ServoState
from mola_core.control.validation import MAX_HORIZON

CHUNK_DTYPE = np.dtype(
    [
        ("number", "u8"),  # counts every chunk sent; tells a reader what it missed
        ("sequence", "i8"),
        ("source", "S64"),
        ("bundle_id", "S64"),
        ("stamp_ns", "i8"),
        ("alive_stamp_ns", "i8"),
        ("start_ns", "i8"),
        ("period_ns", "i8"),
        ("horizon", "i4"),
        ("execute_steps", "i4"),
        ("final", "u1"),
        ("joint_targets", "f8", (MAX_HORIZON, NUM_JOINTS)),
        ("gripper_openings", "f8", (MAX_HORIZON,)),
    ]
)

OPERATOR_DTYPE = np.dtype(
    [
        ("resumes", "u8"),
        ("stops", "u8"),
        ("stop_reason", "S96"),
        ("controller_beat_ns", "i8"),  # monotonic
        ("manager_beat_ns", "i8"),  # monotonic; 0: there is no manager to wait for
        ("hand_beat_ns", "i8"),  # monotonic: when a person last wanted to guide the arm by hand; 0: never
    ]
)

STATUS_DTYPE = np.dtype(
    [
        ("stamp_ns", "i8"),  # of the tick reported
        ("beat_ns", "i8"),  # monotonic
        ("pid", "i8"),
        ("ticks", "u8"),
        ("state", "u1"),
        ("reason", "S160"),
        # the chunk being executed
        ("source", "S64"),
        ("bundle_id", "S64"),
        ("sequence", "i8"),  # -1: none
        ("rung", "u1"),
        ("alive_stamp_ns", "i8"),  # newest accepted; 0: none
        # commanded and measured
        ("commanded_positions", "f8", (NUM_JOINTS,)),
        ("commanded_velocities", "f8", (NUM_JOINTS,)),
        ("gripper_target", "f8"),  # NaN: none yet
        ("measured_stamp_ns", "i8"),
        ("measured_positions", "f8", (NUM_JOINTS,)),
        ("measured_velocities", "f8", (NUM_JOINTS,)),
        ("base_from_tcp", "f8", (6,)),
        ("robot_mode", "i4"),
        ("safety_mode", "i4"),
        ("speed_scaling", "f8"),
        ("program_running", "u1"),
        # since the process began
        ("outcomes", "u8", (len(ChunkOutcome),)),
        ("ladder_ticks", "u8", (len(Rung),)),
        ("late_rows", "u8"),
        ("missed_chunks", "u8"),
        ("splices", "u8"),
        ("filtered_ticks", "u8"),
        ("chasing_ticks", "u8"),
        ("stops", "u8"),
        ("overruns", "u8"),
        ("lateness_max_ns", "i8"),
        # over the last window
        ("window_ticks", "u8"),
        ("window_ns", "i8"),
        ("lateness_p50_ns", "i8"),
        ("lateness_p99_ns", "i8"),
        ("lateness_window_max_ns", "i8"),
        # camera to servo: age of a chunk's oldest input at the tick that first executes it, over the last window
        ("latency_count", "u8"),
        ("latency_p50_ns", "i8"),
        ("latency_p99_ns", "i8"),
        ("latency_max_ns", "i8"),
        ("latency_last_ns", "i8"),  # of the chunk whose execution began last, whenever that was
    ]
)


@dataclass(frozen=True, slots=True)
class ServoStatus:
    """What the servo process says of itself; the field comments of ``STATUS_DTYPE`` hold."""

    stamp_ns: int
    beat_ns: int
    pid: int
    ticks: int
    state: ServoState
    reason: str
    source: str
    bundle_id: str
    sequence: int
    rung: Rung
    alive_stamp_ns: int
    commanded_positions: Joints
    commanded_velocities: Joints
    gripper_target: float | None
    measured_stamp_ns: int
    measured_positions: Joints
    measured_velocities: Joints
    base_from_tcp: Pose
    robot_mode: int
    safety_mode: int
    speed_scaling: float
    program_running: bool
    outcomes: dict[ChunkOutcome, int]
    ladder_ticks: dict[Rung, int]
    late_rows: int
    missed_chunks: int
    splices: int
    filtered_ticks: int
    chasing_ticks: int
    stops: int
    overruns: int
    lateness_max_ns: int
    window_ticks: int
    window_ns: int
    lateness_p50_ns: int
    lateness_p99_ns: int
    lateness_window_max_ns: int
    latency_count: int
    latency_p50_ns: int
    latency_p99_ns: int
    latency_max_ns: int
    latency_last_ns: int


_INTEGERS = tuple(
    name
    for name in STATUS_DTYPE.names or ()
    if STATUS_DTYPE[name].shape == () and STATUS_DTYPE[name].kind in "iu" and name not in {"state", "rung"}
)
_VECTORS = (
    "commanded_positions",
    "commanded_velocities",
    "measured_positions",
    "measured_velocities",
    "base_from_tcp",
)


def fill_chunk(record: np.ndarray, chunk: JointChunk) -> None:
    """Write ``chunk`` into a record of ``CHUNK_DTYPE``, leaving its number alone."""
    horizon = chunk.horizon
    record["sequence"] = chunk.sequence
    record["source"] = chunk.source.encode()[:64]
    record["bundle_id"] = chunk.bundle_id.encode()[:64]
    record["stamp_ns"] = chunk.stamp_ns
    record["alive_stamp_ns"] = chunk.alive_stamp_ns
    record["start_ns"] = chunk.start_ns
    record["period_ns"] = chunk.period_ns
    record["horizon"] = horizon
    record["execute_steps"] = chunk.execute_steps
    record["final"] = chunk.final
    record["joint_targets"][:horizon] = chunk.joint_targets
    record["gripper_openings"][:horizon] = chunk.gripper_openings


def chunk_of(record: np.ndarray) -> JointChunk | None:
    """The chunk in a record; None if its length is impossible. Its contents are judged by the servo core."""
    horizon = int(record["horizon"])
    if not 1 <= horizon <= MAX_HORIZON:
        return None
    return JointChunk(
        sequence=int(record["sequence"]),
        source=text_of(record["source"]),
        bundle_id=text_of(record["bundle_id"]),
        stamp_ns=int(record["stamp_ns"]),
        alive_stamp_ns=int(record["alive_stamp_ns"]),
        start_ns=int(record["start_ns"]),
        period_ns=int(record["period_ns"]),
        joint_targets=record["joint_targets"][:horizon].copy(),
        gripper_openings=record["gripper_openings"][:horizon].copy(),
        execute_steps=int(record["execute_steps"]),
        final=bool(record["final"]),
    )


def status_of(record: np.ndarray) -> ServoStatus:
    """The status in a record of ``STATUS_DTYPE``."""
    fields: dict[str, Any] = {name: int(record[name]) for name in _INTEGERS}
    fields |= {name: record[name].copy() for name in _VECTORS}
    fields |= {name: text_of(record[name]) for name in ("reason", "source", "bundle_id")}
    fields["program_running"] = bool(record["program_running"])
    gripper = float(record["gripper_target"])
    return ServoStatus(
        **fields,
        state=ServoState(int(record["state"])),
        rung=Rung(int(record["rung"])),
        gripper_target=None if np.isnan(gripper) else gripper,
        speed_scaling=float(record["speed_scaling"]),
        outcomes={outcome: int(record["outcomes"][outcome]) for outcome in ChunkOutcome},
        ladder_ticks={rung: int(record["ladder_ticks"][rung]) for rung in Rung},
    )


def text_of(value: np.ndarray) -> str:
    """Text of a byte-string field; what was cut in the middle of a character is dropped."""
    return bytes(value).rstrip(b"\0").decode(errors="ignore")
