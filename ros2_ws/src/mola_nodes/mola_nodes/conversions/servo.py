"""What the servo process says of itself, for the graph."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from mola_interfaces.msg import LatencyHop
from mola_interfaces.msg import ServoStatus as ServoStatusMsg

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.types import CommandedState, RobotMode, RobotState, SafetyMode
from mola_core.control.kinematics import forward_kinematics
from mola_core.control.link_records import ServoStatus
from mola_core.control.servo_types import Rung, ServoState
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.diagnostics import ERROR, OK, WARN, diagnostic_status
from mola_nodes.latency import latency_hop

CAMERA_TO_SERVO = "camera to servo"
"""Age of a chunk's oldest input at the servo tick that first executes it."""

_STATES = {
    ServoState.STOPPED: ServoStatusMsg.STOPPED,
    ServoState.HOLDING: ServoStatusMsg.HOLDING,
    ServoState.EXECUTING: ServoStatusMsg.EXECUTING,
    ServoState.BRAKING: ServoStatusMsg.BRAKING,
    ServoState.GUIDED: ServoStatusMsg.GUIDED,
    ServoState.SETTLING: ServoStatusMsg.SETTLING,
}


@dataclass(frozen=True, slots=True)
class DoorRecord:
    """What the controller node knows beside the servo process."""

    accepted: int
    rejected: int
    last_rejection: str
    restarts: int
    heartbeat_age_ms: float
    """-1: the lifecycle manager was never heard."""
    offline_reason: str
    """Why there is no servo process; empty while there is one."""


def servo_status_message(status: ServoStatus | None, *, door: DoorRecord, now_ns: int) -> ServoStatusMsg:
    """Status for the wire; ``status`` is None while there is no servo process."""
    message = ServoStatusMsg(
        version=ServoStatusMsg.VERSION,
        chunks_accepted=door.accepted,
        chunks_rejected=door.rejected,
        last_rejection=door.last_rejection,
        restarts=door.restarts,
        heartbeat_age_ms=door.heartbeat_age_ms,
        alive_age_ms=-1.0,
    )
    if status is None or door.offline_reason:
        message.state, message.reason = ServoStatusMsg.OFFLINE, door.offline_reason or "the servo process is starting"
        message.stamp = time_from_ns(now_ns)
        return message
    message.stamp = time_from_ns(status.stamp_ns)
    message.state, message.reason = _STATES[status.state], status.reason
    message.source, message.bundle_id = status.source, status.bundle_id
    message.sequence = max(status.sequence, 0)
    message.rung = int(status.rung)
    message.ticks, message.deadline_misses = status.ticks, status.overruns
    message.filtered_ticks, message.chasing_ticks = status.filtered_ticks, status.chasing_ticks
    message.reserve_ticks = status.ladder_ticks[Rung.RESERVE]
    message.splices, message.late_rows, message.stops = status.splices, status.late_rows, status.stops
    message.rate_hz = _rate_hz(status)
    message.lateness_p50_ms = status.lateness_p50_ns / NS_PER_MS
    message.lateness_p99_ms = status.lateness_p99_ns / NS_PER_MS
    message.lateness_max_ms = status.lateness_window_max_ns / NS_PER_MS
    if status.alive_stamp_ns:
        message.alive_age_ms = (now_ns - status.alive_stamp_ns) / NS_PER_MS
    return message


def robot_state_of(status: ServoStatus, *, gripper_opening: float | None) -> RobotState:
    """The arm as the servo process last measured it."""
    return RobotState(
        stamp_ns=status.measured_stamp_ns,
        joint_positions=status.measured_positions,
        joint_velocities=status.measured_velocities,
        base_from_tcp=status.base_from_tcp,
        gripper_opening=gripper_opening,
        robot_mode=RobotMode(status.robot_mode),
        safety_mode=SafetyMode(status.safety_mode),
        speed_scaling=status.speed_scaling,
    )


def commanded_of(status: ServoStatus, *, tcp_offset: Sequence[float]) -> CommandedState:
    """What the servo process last asked of arm and gripper; ``tcp_offset`` (flange to TCP) makes a pose of the joints."""
    base_from_tcp = pose_from_transform(forward_kinematics(status.commanded_positions, tcp_offset))
    return CommandedState(
        stamp_ns=status.stamp_ns,
        joint_positions=status.commanded_positions,
        base_from_tcp=base_from_tcp,
        gripper_opening=status.gripper_target,
        source=status.source,
        chunk_sequence=max(status.sequence, 0),
        bundle_id=status.bundle_id,
    )


def camera_to_servo_hop(status: ServoStatus | None) -> LatencyHop:
    """The whole path, as the servo process measured it over its last window."""
    if status is None:
        return LatencyHop(name=CAMERA_TO_SERVO)
    return latency_hop(
        CAMERA_TO_SERVO,
        count=status.latency_count,
        p50_ns=status.latency_p50_ns,
        p99_ns=status.latency_p99_ns,
        max_ns=status.latency_max_ns,
    )


def servo_diagnostic(message: ServoStatusMsg) -> DiagnosticStatus:
    """The servo's deadlines and state for dashboards."""
    engaged = message.state not in {ServoStatusMsg.STOPPED, ServoStatusMsg.BRAKING, ServoStatusMsg.OFFLINE}
    return diagnostic_status(
        name="controller: servo",
        level=OK if engaged else ERROR if message.state == ServoStatusMsg.OFFLINE else WARN,
        message=message.reason or "engaged",
        values={
            "rate [Hz]": message.rate_hz,
            "ticks": message.ticks,
            "deadline misses": message.deadline_misses,
            "lateness p50 [ms]": message.lateness_p50_ms,
            "lateness p99 [ms]": message.lateness_p99_ms,
            "lateness max [ms]": message.lateness_max_ms,
            "chunks accepted": message.chunks_accepted,
            "chunks rejected": message.chunks_rejected,
            "last rejection": message.last_rejection,
            "restarts of the servo process": message.restarts,
        },
    )


def _rate_hz(status: ServoStatus) -> float:
    return status.window_ticks * NS_PER_S / status.window_ns if status.window_ns else 0.0
