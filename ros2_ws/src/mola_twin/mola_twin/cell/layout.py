"""Every length and place of the cell, in one table without any simulator in it.

Metres and radians in the robot's ``base`` frame (UR's "base", not ROS's ``base_link``): with the shoulder pan at zero
the arm reaches towards -x, so the working area lies at negative x and "far" means more negative. z = 0 is the table.
``launch/sites/twin.yaml`` repeats what a site file must say; a test compares the two.
"""

import numpy as np

from mola_core.contracts.geometry import (
    Pose,
    Rotation,
    Transform,
    compose_poses,
    pose_from_transform,
    transform_from_pose,
)

# --- the arm: UR5e, Denavit-Hartenberg parameters published by Universal Robots (support article "DH parameters") ---
DH_D = (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996)
DH_A = (0.0, -0.425, -0.3922, 0.0, 0.0, 0.0)
DH_ALPHA = (np.pi / 2, 0.0, 0.0, np.pi / 2, -np.pi / 2, 0.0)

# --- the gripper: a parallel two-finger one with the stroke, reach and forces of a Robotiq 2F-85 (its data sheet) ---
TCP_OFFSET = (0.0, 0.0, 0.163, 0.0, 0.0, 0.0)
"""Flange -> TCP; the TCP lies between the tips of the fingers, which slide along its x axis."""
STROKE = 0.085
FINGER_SPEED_MIN, FINGER_SPEED_MAX = 0.020, 0.150
"""Change of opening, m/s, for speed 0 and 1."""
FINGER_FORCE_MIN, FINGER_FORCE_MAX = 20.0, 235.0
"""Grip force, N, for force 0 and 1."""
PAD_HALF = (0.004, 0.011, 0.017)
"""Rubber pad; its inner faces meet at x = 0."""

# --- where episodes start: looking down, camera on the robot's side of the fingers, level with the middle of the table ---
HOME_TCP = (-0.40, -0.02, 0.36)
TOP_DOWN: Rotation = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""``base_from_tcp`` rotation at yaw 0: fingers close along the base's y, the wrist camera looks away from the robot."""
HOME_JOINTS = (-0.28935, -1.83516, 1.70768, -1.44331, -1.5708, -0.28935)
"""rad; the elbow-up solution for HOME_TCP and TOP_DOWN."""

# --- the furniture ---
TABLE_CENTER = (-0.36, 0.0)
TABLE_HALF = (0.62, 0.60)
TABLE_THICKNESS = 0.04

BIN_HALF, BIN_HEIGHT, BIN_WALL = 0.085, 0.09, 0.005
CABINET_HALF = (0.10, 0.07, 0.065)
"""Half width (along the front), half depth, half height."""
DRAWER_TRAVEL = 0.12
HANDLE_HEIGHT = 0.098
HANDLE_STANDOFF = 0.048
"""From the drawer's front to the axis of its bar."""
HANDLE_RADIUS = 0.006
BUTTON_BASE_HALF = (0.045, 0.045, 0.018)
BUTTON_RADIUS, BUTTON_HEIGHT, BUTTON_TRAVEL = 0.026, 0.018, 0.010

# --- what can be carried ---
BLOCK_HALF = 0.024
BOWL_RADIUS, BOWL_HEIGHT, BOWL_WALL = 0.062, 0.045, 0.005
BOTTLE_RADIUS, BOTTLE_BODY, NECK_RADIUS, NECK_LENGTH = 0.029, 0.105, 0.013, 0.055

BLOCKS = ("block_a", "block_b", "block_c")
MOVABLE = ("bottle", "bowl", *BLOCKS)
FURNITURE = ("bin", "cabinet", "button")
DISTRACTORS = ("mug", "can", "book", "pear")

REST_HEIGHT = {"bottle": 0.0, "bowl": 0.0, **dict.fromkeys(BLOCKS, BLOCK_HALF)}
"""Height of each movable object's frame while it stands on the table: blocks are centred, the others sit on theirs."""

# --- the cameras: poses of the colour optical frame (x right, y down, z forward) ---


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> Transform:
    """``base_from_camera`` of a camera at ``eye`` that sees ``target`` in the middle and the world upright."""
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    base_from_camera = np.eye(4)
    base_from_camera[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    base_from_camera[:3, 3] = eye
    return base_from_camera


def _rounded_pose(transform: Transform) -> Pose:
    return np.round(pose_from_transform(transform), 5)


THIRD_PERSON_POSE: Pose = _rounded_pose(look_at((-1.06, -0.08, 0.58), (-0.42, -0.01, 0.11)))
"""``base_from_camera`` of the D455: across the table, facing the robot."""
WRIST_TILT = -0.35
WRIST_POSE: Pose = np.round(
    compose_poses(np.array([0.0, 0.075, -0.115, 0.0, 0.0, np.pi]), np.array([0.0, 0.0, 0.0, WRIST_TILT, 0.0, 0.0])), 5
)
"""``tcp_from_camera`` of the D405: behind the fingers, tilted towards their tips, which it sees at its lower edge."""

CAMERA_POSES = {"third_person": THIRD_PERSON_POSE, "wrist": WRIST_POSE}
CAMERA_MODELS = {"third_person": "D455", "wrist": "D405"}


def top_down(position: np.ndarray, yaw: float) -> Transform:
    """``base_from_tcp`` of a tool that points straight down, turned by ``yaw`` about the vertical from TOP_DOWN."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    base_from_tcp = np.eye(4)
    base_from_tcp[:3, :3] = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]) @ TOP_DOWN
    base_from_tcp[:3, 3] = position
    return base_from_tcp


def flange_from_tcp() -> Transform:
    """TCP_OFFSET as a matrix."""
    return transform_from_pose(np.array(TCP_OFFSET))
