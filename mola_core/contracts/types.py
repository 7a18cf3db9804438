"""What crosses a seam: frozen, stamped, with shapes, units and frames in the type.

All stamps are integer nanoseconds since the Unix epoch. Joint order is UR's: shoulder_pan, shoulder_lift,
elbow, wrist_1, wrist_2, wrist_3. Poses are 6-vectors (m, rotation vector in rad) in the robot's ``base`` frame.
Gripper opening is a fraction: 0 closed, 1 fully open.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from mola_core.contracts.geometry import Pose, Transform

JOINT_NAMES = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
NUM_JOINTS = len(JOINT_NAMES)

Joints = Float[np.ndarray, "6"]


class StampDomain(Enum):
    """Which clock a frame's stamp was read from."""

    HOST_EPOCH = "host_epoch"
    """Capture time, mapped onto the host's epoch by the device (RealSense global time)."""
    HOST_RECEIVE = "host_receive"
    """The device gave no usable time; the host stamped the frame on arrival, later than its capture."""


@dataclass(frozen=True, slots=True)
class CameraIntrinsics:
    """Pinhole model with Brown-Conrady distortion, in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """What a connected camera says of itself; constant while it stays connected."""

    name: str
    model: str
    serial: str
    color: CameraIntrinsics
    depth: CameraIntrinsics | None
    color_from_depth: Transform
    """Optical frames (x right, y down, z forward), metres."""
    depth_unit_m: float
    """Metres per depth count of the raw stream."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One stamped camera image and, where the camera has it, the depth seen by the same pixels."""

    stamp_ns: int
    stamp_domain: StampDomain
    received_ns: int
    sequence: int
    color: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    depth: UInt16[np.ndarray, "height width"] | None
    """Millimetres, aligned to the colour image; 0 = unknown."""


class RobotMode(IntEnum):
    """UR's robot modes (RTDE ``robot_mode``)."""

    NO_CONTROLLER = -1
    DISCONNECTED = 0
    CONFIRM_SAFETY = 1
    BOOTING = 2
    POWER_OFF = 3
    POWER_ON = 4
    IDLE = 5
    BACKDRIVE = 6
    RUNNING = 7
    UPDATING_FIRMWARE = 8


class SafetyMode(IntEnum):
    """UR's safety modes (RTDE ``safety_mode``)."""

    NORMAL = 1
    REDUCED = 2
    PROTECTIVE_STOP = 3
    RECOVERY = 4
    SAFEGUARD_STOP = 5
    SYSTEM_EMERGENCY_STOP = 6
    ROBOT_EMERGENCY_STOP = 7
    VIOLATION = 8
    FAULT = 9


@dataclass(frozen=True, slots=True)
class RobotState:
    """Proprioception of one instant."""

    stamp_ns: int
    joint_positions: Joints
    """rad."""
    joint_velocities: Joints
    """rad/s, as measured by the controller."""
    base_from_tcp: Pose
    gripper_opening: float | None
    """None where no gripper is fitted or it has not answered yet; never invented."""
    robot_mode: RobotMode
    safety_mode: SafetyMode
    speed_scaling: float
    """0..1, product of the speed slider and the controller's own scaling."""


@dataclass(frozen=True, slots=True)
class CommandedState:
    """What the servo asks of arm and gripper at one instant: the action of a demonstration or rollout."""

    stamp_ns: int
    """Of the servo tick that commanded this."""
    joint_positions: Joints
    """rad, after interpolation and safety filter."""
    base_from_tcp: Pose
    """The same as a pose."""
    gripper_opening: float | None
    """None before anything was asked of the gripper; never invented."""
    source: str
    """Whose chunk is being executed: a policy's or device's name; empty while none is."""
    chunk_sequence: int
    """Of the chunk being executed; 0 while none is."""
    bundle_id: str


class ActionSpace(Enum):
    """What the first six numbers of an action mean."""

    JOINT = "joint"
    """Absolute joint positions, rad."""
    TCP = "tcp"
    """Absolute ``base_from_tcp`` pose, m and rotation vector in rad."""


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """``horizon`` absolute targets, ``period_ns`` apart, the first meant for ``start_ns``.

    Lengths, finiteness and ranges are checked by :func:`mola_core.control.validation.prepare_chunk`, at the one
    door through which chunks reach the arm.
    """

    sequence: int
    """Counts up per source; a chunk that is not newer than the last accepted one is out of order."""
    source: str
    """Who made it: a policy's or device's name, for logs and for takeover."""
    bundle_id: str
    """Version of the model that made it; empty for scripted and teleoperated motion."""
    stamp_ns: int
    """Capture time of the oldest input that the plan rests upon."""
    alive_stamp_ns: int
    """Oldest among the newest inputs seen when the chunk was sent; >= ``stamp_ns``.

    A source that executes one plan for long sends it again with a fresh ``alive_stamp_ns`` to say that it still sees
    the world and stands by the plan. Motion continues only while this stamp is younger than the site's stale limit.
    """
    start_ns: int
    period_ns: int
    space: ActionSpace
    targets: Float[np.ndarray, "horizon 6"]
    gripper_openings: Float[np.ndarray, "horizon"]
    execute_steps: int
    """Rows meant to be executed before the next chunk; the rest is the reserve of the degradation ladder.

    0, of a final chunk only: none of it is executed; the arm comes to rest at once, as fast as its limits allow, and stays
    engaged. That is how a person's letting go is said.
    """
    final: bool
    """True: the source is done after this chunk, and running out of it is a normal end rather than a stall."""

    @property
    def is_release(self) -> bool:
        """Asks for rest at once instead of motion."""
        return self.final and self.execute_steps == 0
