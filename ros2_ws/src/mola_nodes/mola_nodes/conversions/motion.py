"""Action chunks, and the states of the robot as measured and as commanded."""

import numpy as np
from geometry_msgs.msg import PoseStamped
from mola_interfaces.msg import ActionChunk as ActionChunkMsg
from mola_interfaces.msg import CommandedState as CommandedStateMsg
from mola_interfaces.msg import RobotState as RobotStateMsg
from sensor_msgs.msg import JointState

from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.geometry import quaternion_from_rotation, rotation_from_rotvec
from mola_core.contracts.types import (
    JOINT_NAMES,
    NUM_JOINTS,
    ActionChunk,
    ActionSpace,
    CommandedState,
    RobotMode,
    RobotState,
    SafetyMode,
)
from mola_nodes import graph
from mola_nodes.conversions.wire import (
    MessageError,
    check_length,
    check_version,
    doubles_to_wire,
    duration_from_ns,
    ns_from_duration,
    ns_from_time,
    time_from_ns,
    vector_to_wire,
)

_SPACE_TO_WIRE = {ActionSpace.JOINT: ActionChunkMsg.SPACE_JOINT, ActionSpace.TCP: ActionChunkMsg.SPACE_TCP}
_SPACE_FROM_WIRE = {value: space for space, value in _SPACE_TO_WIRE.items()}


def message_from_chunk(chunk: ActionChunk) -> ActionChunkMsg:
    """Chunk for the wire.

    Raises:
        MessageError: targets and gripper openings do not have one row per step of one horizon.
    """
    horizon = len(chunk.gripper_openings)
    if chunk.targets.shape != (horizon, NUM_JOINTS):
        raise MessageError(f"targets have shape {chunk.targets.shape} beside {horizon} gripper openings")
    return ActionChunkMsg(
        version=ActionChunkMsg.VERSION,
        stamp=time_from_ns(chunk.stamp_ns),
        alive_stamp=time_from_ns(chunk.alive_stamp_ns),
        start=time_from_ns(chunk.start_ns),
        period=duration_from_ns(chunk.period_ns),
        sequence=chunk.sequence,
        source=chunk.source,
        bundle_id=chunk.bundle_id,
        space=_SPACE_TO_WIRE[chunk.space],
        horizon=horizon,
        targets=doubles_to_wire(chunk.targets),
        gripper_openings=doubles_to_wire(chunk.gripper_openings),
        execute_steps=chunk.execute_steps,
        final=chunk.final,
    )


def chunk_from_message(message: ActionChunkMsg) -> ActionChunk:
    """Chunk as it came, its lengths checked; what it asks for is judged by ``mola_core.control.validation``.

    Raises:
        ChunkRejectedError: another version, an unknown space, or lengths that contradict each other.
    """
    try:
        check_version(message)
        check_length(name="targets", values=message.targets, length=message.horizon * NUM_JOINTS)
        check_length(name="gripper_openings", values=message.gripper_openings, length=message.horizon)
    except MessageError as error:
        raise ChunkRejectedError(str(error)) from error
    space = _SPACE_FROM_WIRE.get(message.space)
    if space is None:
        raise ChunkRejectedError(f"action space {message.space} is unknown; known: {sorted(_SPACE_FROM_WIRE)}")
    return ActionChunk(
        sequence=message.sequence,
        source=message.source,
        bundle_id=message.bundle_id,
        stamp_ns=ns_from_time(message.stamp),
        alive_stamp_ns=ns_from_time(message.alive_stamp),
        start_ns=ns_from_time(message.start),
        period_ns=ns_from_duration(message.period),
        space=space,
        targets=np.array(message.targets, dtype=np.float64).reshape(message.horizon, NUM_JOINTS),
        gripper_openings=np.array(message.gripper_openings, dtype=np.float64),
        execute_steps=message.execute_steps,
        final=message.final,
    )


def message_from_robot_state(state: RobotState, *, sequence: int) -> RobotStateMsg:
    """State for the wire.

    Raises:
        MessageError: a vector does not hold six numbers.
    """
    return RobotStateMsg(
        version=RobotStateMsg.VERSION,
        stamp=time_from_ns(state.stamp_ns),
        sequence=sequence,
        joint_positions=vector_to_wire(name="joint_positions", values=state.joint_positions, length=NUM_JOINTS),
        joint_velocities=vector_to_wire(name="joint_velocities", values=state.joint_velocities, length=NUM_JOINTS),
        base_from_tcp=vector_to_wire(name="base_from_tcp", values=state.base_from_tcp, length=6),
        has_gripper_opening=state.gripper_opening is not None,
        gripper_opening=0.0 if state.gripper_opening is None else float(state.gripper_opening),
        robot_mode=int(state.robot_mode),
        safety_mode=int(state.safety_mode),
        speed_scaling=float(state.speed_scaling),
    )


def robot_state_from_message(message: RobotStateMsg) -> RobotState:
    """State as measured.

    Raises:
        MessageError: another version, a vector that is not finite, or a mode that UR does not have.
    """
    check_version(message)
    vectors = _finite_vectors(message, "joint_positions", "joint_velocities", "base_from_tcp", what="a robot state")
    try:
        robot_mode, safety_mode = RobotMode(message.robot_mode), SafetyMode(message.safety_mode)
    except ValueError as error:
        raise MessageError(f"robot state: {error}") from error
    return RobotState(
        stamp_ns=ns_from_time(message.stamp),
        gripper_opening=message.gripper_opening if message.has_gripper_opening else None,
        robot_mode=robot_mode,
        safety_mode=safety_mode,
        speed_scaling=message.speed_scaling,
        **vectors,
    )


def message_from_commanded(commanded: CommandedState, *, sequence: int) -> CommandedStateMsg:
    """Commanded state for the wire.

    Raises:
        MessageError: a vector does not hold six numbers.
    """
    opening = commanded.gripper_opening
    return CommandedStateMsg(
        version=CommandedStateMsg.VERSION,
        stamp=time_from_ns(commanded.stamp_ns),
        sequence=sequence,
        joint_positions=vector_to_wire(name="joint_positions", values=commanded.joint_positions, length=NUM_JOINTS),
        base_from_tcp=vector_to_wire(name="base_from_tcp", values=commanded.base_from_tcp, length=6),
        has_gripper_opening=opening is not None,
        gripper_opening=0.0 if opening is None else float(opening),
        source=commanded.source,
        chunk_sequence=commanded.chunk_sequence,
        bundle_id=commanded.bundle_id,
    )


def commanded_from_message(message: CommandedStateMsg) -> CommandedState:
    """State as commanded.

    Raises:
        MessageError: another version, or a vector that is not finite.
    """
    check_version(message)
    return CommandedState(
        stamp_ns=ns_from_time(message.stamp),
        gripper_opening=message.gripper_opening if message.has_gripper_opening else None,
        source=message.source,
        chunk_sequence=message.chunk_sequence,
        bundle_id=message.bundle_id,
        **_finite_vectors(message, "joint_positions", "base_from_tcp", what="a commanded state"),
    )


def _finite_vectors(message: RobotStateMsg | CommandedStateMsg, *names: str, what: str) -> dict[str, np.ndarray]:
    vectors = {name: np.array(getattr(message, name), dtype=np.float64) for name in names}
    for name, vector in vectors.items():
        if not np.isfinite(vector).all():
            raise MessageError(f"{name} of {what} is not finite: {vector.tolist()}")
    return vectors


def joint_state_message(state: RobotState) -> JointState:
    """The standard message for visualisers and recorders; rad and rad/s."""
    message = JointState(
        name=list(JOINT_NAMES),
        position=doubles_to_wire(state.joint_positions),
        velocity=doubles_to_wire(state.joint_velocities),
    )
    message.header.stamp = time_from_ns(state.stamp_ns)
    message.header.frame_id = graph.BASE_FRAME
    return message


def tcp_pose_message(state: RobotState) -> PoseStamped:
    """Pose of the TCP in the base frame, as the UR driver publishes it."""
    message = PoseStamped()
    message.header.stamp = time_from_ns(state.stamp_ns)
    message.header.frame_id = graph.BASE_FRAME
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = (float(value) for value in state.base_from_tcp[:3])
    quaternion = quaternion_from_rotation(rotation_from_rotvec(state.base_from_tcp[3:]))
    orientation.x, orientation.y, orientation.z, orientation.w = (float(value) for value in quaternion)
    return message
