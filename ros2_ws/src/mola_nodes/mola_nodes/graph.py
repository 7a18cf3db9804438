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
from mola_interfaces.msg import (
    ActionChunk,
    BundleWish,
    CommandedState,
    EngineStatus,
    EpisodeStatus,
    Foresight,
    HalfStatus,
    LatencyReport,
    LatentActions,
    NodeHeartbeat,
    PolicyHealth,
    RobotState,
    ServoStatus,
    TeleopStatus,
)
from mola_interfaces.srv import (
    EpisodeControl,
    ListEngines,
    LoadEngine,
    PromoteEngine,
    Resume,
    RollbackEngine,
    ShowFirstFrame,
    Stop,
)
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Empty, Float64, String
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
TELEOP_STATUS = Topic(f"{NAMESPACE}/teleop_status", TeleopStatus, STATE)
HAND_GUIDANCE = Topic(f"{NAMESPACE}/hand_guidance", Bool, NEWEST)
"""True for as long as a person wants to guide the arm by hand; lapses when it is not said again."""
RESET_OVERLAY = Topic(f"{NAMESPACE}/reset_overlay", Image, NEWEST)
"""The live view under the first frame of an episode, to put the scene back as it was."""
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

EPISODE_STATUS = Topic(f"{NAMESPACE}/episode_status", EpisodeStatus, STATE)
EPISODE_KEY = Topic(f"{NAMESPACE}/episode_key", String, STATE)
"""One word: start, stop, success, failure, drop, or toggle (start, or stop); for buttons, pedals and pages."""

STOP = Service(f"{NAMESPACE}/stop", Stop)
RESUME = Service(f"{NAMESPACE}/resume", Resume)
ALL_ACTIVE = Service(f"{NAMESPACE}/all_active", Trigger)
"""Succeeds when every managed node is active; its message names those that are not, and why."""
EPISODE_CONTROL = Service(f"{NAMESPACE}/episode_control", EpisodeControl)

TELEOP_FASTER = Service(f"{NAMESPACE}/teleop_faster", Trigger)
TELEOP_SLOWER = Service(f"{NAMESPACE}/teleop_slower", Trigger)
TELEOP_NEXT_FRAME = Service(f"{NAMESPACE}/teleop_next_frame", Trigger)
SHOW_FIRST_FRAME = Service(f"{NAMESPACE}/show_first_frame", ShowFirstFrame)

RUN_POLICY = Action(f"{NAMESPACE}/run_policy", RunPolicy)
TASK_DONE = Service(f"{NAMESPACE}/task_done", Trigger)
"""Somebody who can judge it says that the running task is done: the run ends as a success."""

INSTRUCTION = Topic(f"{NAMESPACE}/instruction", String, LATCHED)
"""What the policy is to do now; empty while nobody wants anything, and nothing is imagined then."""
FORESIGHT_WANTED = Topic(f"{NAMESPACE}/foresight_wanted", Empty, NEWEST)
"""The policy's answer is due: imagine what is seen now, at once."""
FORESIGHT = Topic(f"{NAMESPACE}/foresight", Foresight, NEWEST)
LATENT_ACTIONS = Topic(f"{NAMESPACE}/latent_actions", LatentActions, STATE)
POLICY_HEALTH = Topic(f"{NAMESPACE}/policy_health", PolicyHealth, STATE)
BUNDLE_WISH = Topic(f"{NAMESPACE}/bundle_wish", BundleWish, LATCHED)
HALF_STATUS = Topic(f"{NAMESPACE}/half_status", HalfStatus, _reliable(20))
ENGINE_STATUS = Topic(f"{NAMESPACE}/engine_status", EngineStatus, LATCHED)

LIST_ENGINES = Service(f"{NAMESPACE}/list_engines", ListEngines)
LOAD_ENGINE = Service(f"{NAMESPACE}/load_engine", LoadEngine)
PROMOTE_ENGINE = Service(f"{NAMESPACE}/promote_engine", PromoteEngine)
ROLLBACK_ENGINE = Service(f"{NAMESPACE}/rollback_engine", RollbackEngine)
UNLOAD_ENGINES = Service(f"{NAMESPACE}/unload_engines", Trigger)
"""Lets go of every bundle that does not serve: the staged one, and the one kept for a rollback."""


def preview_topic(role: str) -> Topic:
    """What is imagined of the camera with this role: the imagined frames side by side, rgb8, for people."""
    return Topic(f"{NAMESPACE}/{role}/imagined/image_raw", Image, NEWEST)


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
EPISODE_RECORDER = "episode_recorder"
IMAGINATION = "imagination"
BUNDLE_MANAGER = "bundle_manager"
LIFECYCLE_MANAGER = "lifecycle_manager"
TELEOP = "teleop"
RESET_OVERLAY_NODE = "reset_overlay"


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
        subscribes=(ACTION_CHUNK, HAND_GUIDANCE, HEARTBEAT, *(camera_topics(role).color_metadata for role in roles)),
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


def episode_recorder_node(topics: Iterable[Topic]) -> NodeGraph:
    """Writes ``topics``, everything that the others publish."""
    return NodeGraph(
        name=EPISODE_RECORDER,
        publishes=(EPISODE_STATUS, NODE_HEARTBEATS),
        subscribes=(*topics, EPISODE_KEY),
        serves=(EPISODE_CONTROL,),
    )


def teleop_node() -> NodeGraph:
    """A person's device; beside a policy or without one."""
    return NodeGraph(
        name=TELEOP,
        publishes=(ACTION_CHUNK, HAND_GUIDANCE, TELEOP_STATUS, EPISODE_KEY, DIAGNOSTICS, NODE_HEARTBEATS),
        subscribes=(COMMANDED, ROBOT_STATE, SERVO_STATUS),
        serves=(TELEOP_FASTER, TELEOP_SLOWER, TELEOP_NEXT_FRAME),
    )


def reset_overlay_node(role: str) -> NodeGraph:
    """The view of one camera under the first frame of an episode."""
    return NodeGraph(
        name=RESET_OVERLAY_NODE,
        publishes=(RESET_OVERLAY, NODE_HEARTBEATS),
        subscribes=(camera_topics(role).color,),
        serves=(SHOW_FIRST_FRAME,),
    )


def imagination_node(roles: Iterable[str]) -> NodeGraph:
    """The video model: newest frames in, foresights out."""
    roles = tuple(roles)
    return NodeGraph(
        name=IMAGINATION,
        publishes=(FORESIGHT, HALF_STATUS, DIAGNOSTICS, NODE_HEARTBEATS, *(preview_topic(role) for role in roles)),
        subscribes=(INSTRUCTION, FORESIGHT_WANTED, BUNDLE_WISH, *(camera_topics(role).color for role in roles)),
    )


def policy_node(roles: Iterable[str]) -> NodeGraph:
    """The learned policy: foresights and states in, chunks out."""
    return NodeGraph(
        name=POLICY,
        publishes=(
            ACTION_CHUNK,
            INSTRUCTION,
            FORESIGHT_WANTED,
            LATENT_ACTIONS,
            POLICY_HEALTH,
            HALF_STATUS,
            DIAGNOSTICS,
            NODE_HEARTBEATS,
        ),
        subscribes=(
            FORESIGHT,
            BUNDLE_WISH,
            ROBOT_STATE,
            SERVO_STATUS,
            *(camera_topics(role).color_metadata for role in roles),
        ),
        serves=(TASK_DONE,),
        acts=(RUN_POLICY,),
    )


def bundle_manager_node() -> NodeGraph:
    """Which bundle serves, and the next one."""
    return NodeGraph(
        name=BUNDLE_MANAGER,
        publishes=(BUNDLE_WISH, ENGINE_STATUS, DIAGNOSTICS, NODE_HEARTBEATS),
        subscribes=(HALF_STATUS,),
        serves=(LIST_ENGINES, LOAD_ENGINE, PROMOTE_ENGINE, ROLLBACK_ENGINE, UNLOAD_ENGINES),
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
        episode_recorder_node(recorded_topics(roles=roles)),
        lifecycle_manager_node(),
    )


def recorded_topics(*, roles: Iterable[str]) -> tuple[Topic, ...]:
    """What an episode holds: all that anybody publishes, but for foresights (large, and made of recorded frames anew),
    the wish for them, and the recorder's own keys.
    """
    left_out = (FORESIGHT, FORESIGHT_WANTED, EPISODE_KEY)
    topics = {topic.name: topic for node in _recorded_nodes(roles) for topic in node.publishes if topic not in left_out}
    return tuple(topics.values())


def is_published_once(topic: Topic, *, roles: Iterable[str]) -> bool:
    """Whether only one node publishes ``topic``: a gap in its running numbers is then a loss."""
    ends = {(node.name, item.name) for node in _recorded_nodes(roles) for item in node.publishes}
    return sum(name == topic.name for _, name in ends) == 1


def _recorded_nodes(roles: Iterable[str]) -> tuple[NodeGraph, ...]:
    """Everybody who may be there and says something that is not a view of something else."""
    roles = tuple(roles)
    return (
        *(camera_node(role) for role in roles),
        controller_node(roles),
        teleop_node(),
        scripted_policy_node(roles),
        imagination_node(roles),
        policy_node(roles),
        bundle_manager_node(),
        lifecycle_manager_node(),
    )
