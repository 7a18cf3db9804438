"""Every node, topic, service and action of the graph: its name, type and QoS, and who holds which end.

Nodes create their endpoints from these records and from nothing else; ``tests/ros/test_graph.py`` compares the
declarations in :func:`nodes` with the running graph. Standard topics keep the names that ROS tools, the UR driver and
realsense-ros give them; everything of ours lives under ``/mola``.

Everything is published RELIABLE, so that reliable and best-effort readers both match; queues are short because a
control system wants the newest value, not the history.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TransformStamped
from mola_interfaces.action import RunPolicy
from mola_interfaces.msg import ActionChunk, CommandedState, LatencyReport, NodeHeartbeat, RobotState, ServoStatus
from mola_interfaces.srv import Resume, Stop
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger

NAMESPACE = "/mola"


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.RELIABLE)


NEWEST = _reliable(1)
STREAM = _reliable(10)
"""A third of a second of camera frames: a reader that is held up for so long loses none."""
STATE = _reliable(10)
LATCHED = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True, slots=True)
class Topic:
    """A name, the type that travels there, and how."""

    name: str
    type: type
    qos: QoSProfile


@dataclass(frozen=True, slots=True)
class Service:
    """A name and the type of request and response."""

    name: str
    type: type


@dataclass(frozen=True, slots=True)
class Action:
    """A name and the type of goal, feedback and result."""

    name: str
    type: type


ACTION_CHUNK = Topic(f"{NAMESPACE}/action_chunk", ActionChunk, STREAM)
ROBOT_STATE = Topic(f"{NAMESPACE}/robot_state", RobotState, STATE)
COMMANDED = Topic(f"{NAMESPACE}/commanded", CommandedState, STATE)
"""What the servo asks of arm and gripper: the action of a recording, at the rate of the robot states."""
SERVO_STATUS = Topic(f"{NAMESPACE}/servo_status", ServoStatus, STATE)
LATENCY = Topic(f"{NAMESPACE}/latency", LatencyReport, STATE)
HEARTBEAT = Topic(f"{NAMESPACE}/heartbeat", NodeHeartbeat, NEWEST)
"""Of the lifecycle manager; the arm brakes when it falls silent."""
NODE_HEARTBEATS = Topic(f"{NAMESPACE}/node_heartbeats", NodeHeartbeat, _reliable(50))
"""Of every managed node, for the lifecycle manager."""

JOINT_STATES = Topic("/joint_states", JointState, STATE)
TCP_POSE = Topic("/tcp_pose_broadcaster/pose", PoseStamped, STATE)
SPEED_SCALING = Topic("/speed_scaling_state_broadcaster/speed_scaling", Float64, STATE)
"""0..1, product of the speed slider and the controller's own scaling."""
PROGRAM_RUNNING = Topic("/io_and_status_controller/robot_program_running", Bool, LATCHED)
DIAGNOSTICS = Topic("/diagnostics", DiagnosticArray, _reliable(10))

STOP = Service(f"{NAMESPACE}/stop", Stop)
RESUME = Service(f"{NAMESPACE}/resume", Resume)
ALL_ACTIVE = Service(f"{NAMESPACE}/all_active", Trigger)
"""Succeeds when every managed node is active; its message names those that are not, and why."""

RUN_POLICY = Action(f"{NAMESPACE}/run_policy", RunPolicy)


@dataclass(frozen=True, slots=True)
class CameraTopics:
    """The topics of one camera, named as realsense-ros names them."""

    color: Topic
    color_info: Topic
    color_metadata: Topic
    """JSON: sequence, stamp domain and receive time of the frame of the same stamp."""
    depth: Topic
    depth_info: Topic
    mount: Topic
    """Latched pose of the colour optical frame in the frame that carries the camera."""

    def all(self) -> tuple[Topic, ...]:
        return (self.color, self.color_info, self.color_metadata, self.depth, self.depth_info, self.mount)


def camera_topics(role: str) -> CameraTopics:
    """Topics of the camera with this role (``third_person``, ``wrist``)."""
    prefix = f"{NAMESPACE}/{role}"
    return CameraTopics(
        color=Topic(f"{prefix}/color/image_raw", Image, STREAM),
        color_info=Topic(f"{prefix}/color/camera_info", CameraInfo, STREAM),
        color_metadata=Topic(f"{prefix}/color/metadata", String, STREAM),
        depth=Topic(f"{prefix}/aligned_depth_to_color/image_raw", Image, STREAM),
        depth_info=Topic(f"{prefix}/aligned_depth_to_color/camera_info", CameraInfo, STREAM),
        mount=Topic(f"{prefix}/extrinsics/mount_to_color", TransformStamped, LATCHED),
    )


def optical_frame(role: str) -> str:
    """Frame id of the colour optical frame (x right, y down, z forward)."""
    return f"{role}_color_optical_frame"


BASE_FRAME = "base"
TCP_FRAME = "tool0_controller"


@dataclass(frozen=True, slots=True)
class NodeGraph:
    """One node and the ends that it holds, beside those that every ROS node has."""

    name: str
    publishes: tuple[Topic, ...] = ()
    subscribes: tuple[Topic, ...] = ()
    serves: tuple[Service, ...] = ()
    acts: tuple[Action, ...] = field(default=())

    @property
    def full_name(self) -> str:
        return f"{NAMESPACE}/{self.name}"


CONTROLLER = "controller"
POLICY = "policy"
"""Whatever sends the chunks: scripted, or learned."""
LIFECYCLE_MANAGER = "lifecycle_manager"


def camera_node_name(role: str) -> str:
    """Name of the node that serves the camera with this role."""
    return f"camera_{role}"


def camera_node(role: str) -> NodeGraph:
    """One camera."""
    return NodeGraph(name=camera_node_name(role), publishes=(*camera_topics(role).all(), DIAGNOSTICS, NODE_HEARTBEATS))


def controller_node(roles: Iterable[str]) -> NodeGraph:
    """The one door to arm and gripper."""
    return NodeGraph(
        name=CONTROLLER,
        publishes=(
            ROBOT_STATE,
            COMMANDED,
            SERVO_STATUS,
            LATENCY,
            JOINT_STATES,
            TCP_POSE,
            SPEED_SCALING,
            PROGRAM_RUNNING,
            DIAGNOSTICS,
            NODE_HEARTBEATS,
        ),
        subscribes=(ACTION_CHUNK, HEARTBEAT, *(camera_topics(role).color_metadata for role in roles)),
        serves=(STOP, RESUME),
    )


def scripted_policy_node(roles: Iterable[str]) -> NodeGraph:
    """The scripted expert behind the interface of a policy."""
    return NodeGraph(
        name=POLICY,
        publishes=(ACTION_CHUNK, DIAGNOSTICS, NODE_HEARTBEATS),
        subscribes=(ROBOT_STATE, SERVO_STATUS, *(camera_topics(role).color for role in roles)),
        acts=(RUN_POLICY,),
    )


def lifecycle_manager_node() -> NodeGraph:
    """Brings the others up and down and beats the heart."""
    return NodeGraph(
        name=LIFECYCLE_MANAGER,
        publishes=(HEARTBEAT, DIAGNOSTICS),
        subscribes=(NODE_HEARTBEATS,),
        serves=(ALL_ACTIVE,),
    )


def nodes(*, roles: Iterable[str]) -> tuple[NodeGraph, ...]:
    """The whole graph of a site whose cameras have these roles, in the order of bring-up, the manager last."""
    roles = tuple(roles)
    return (
        *(camera_node(role) for role in roles),
        controller_node(roles),
        scripted_policy_node(roles),
        lifecycle_manager_node(),
    )
