"""The two-finger gripper and the D405 on its bracket, in the flange frame (z away from the arm)."""

import mujoco
import numpy as np

from mola_core.contracts.geometry import Transform, quaternion_from_rotation, transform_from_pose
from mola_twin.cell import layout
from mola_twin.cell.shapes import ROBOT, VISUAL, box, cylinder

BLACK = (0.10, 0.10, 0.11, 1.0)
STEEL = (0.55, 0.56, 0.58, 1.0)
RUBBER = (0.16, 0.16, 0.17, 1.0)
SILVER = (0.80, 0.81, 0.83, 1.0)

FINGER_MASS = 0.10
FINGER_ARMATURE = 0.30
"""kg, reflected inertia of the gear: what keeps a stiff finger drive stable at 2 ms."""
DRIVE_STIFFNESS, DRIVE_DAMPING = 1.0e4, 90.0
"""N/m and N s/m of the drive on the opening; near critical damping for two fingers of this inertia."""

FINGERS = ("finger_left", "finger_right")
PAD_FRICTION = (1.6, 0.02, 0.0005)


def add_gripper(spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> None:
    """Add coupling, palm, fingers with their drive, bracket and wrist camera, and the ``tool`` site at the TCP."""
    palm = flange.add_body(name="gripper", gravcomp=1.0)
    palm.explicitinertial = True
    palm.mass = 0.9
    palm.inertia = [0.002, 0.002, 0.001]
    cylinder(palm, 0.038, (0, 0, 0), (0, 0, 0.016), STEEL, **VISUAL)
    cylinder(palm, 0.040, (0, 0, 0.016), (0, 0, 0.078), BLACK, **ROBOT)
    box(palm, (0.062, 0.019, 0.011), (0, 0, 0.089), BLACK, **ROBOT)
    for name, side in zip(FINGERS, (1.0, -1.0), strict=True):
        _add_finger(palm, name=name, side=side)
    _couple_fingers(spec)
    _add_wrist_camera(palm)
    tcp = layout.flange_from_tcp()
    palm.add_site(name="tool", pos=list(tcp[:3, 3]), quat=mujoco_quat(tcp))


def mujoco_quat(transform: Transform) -> list[float]:
    """The rotation of a 4x4 matrix as MuJoCo's (w, x, y, z)."""
    x, y, z, w = quaternion_from_rotation(transform[:3, :3])
    return [float(w), float(x), float(y), float(z)]


def _add_finger(palm: mujoco.MjsBody, *, name: str, side: float) -> None:
    """One finger; at joint position 0 its pad touches the middle, at STROKE / 2 the gripper is fully open."""
    finger = palm.add_body(name=name, gravcomp=1.0)
    finger.explicitinertial = True
    finger.mass = FINGER_MASS
    finger.inertia = [5e-5, 5e-5, 5e-5]
    finger.ipos = [side * 0.012, 0.0, 0.13]
    finger.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[side, 0, 0],
        range=[0.0, layout.STROKE / 2],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        armature=FINGER_ARMATURE,
        damping=5.0,
    )
    half_x, _, half_z = layout.PAD_HALF
    tip = layout.TCP_OFFSET[2]
    outer = side * (2 * half_x + 0.005)
    box(finger, (0.005, 0.010, 0.0325), (outer, 0, tip - 0.0325), STEEL, **ROBOT)
    box(
        finger,
        layout.PAD_HALF,
        (side * half_x, 0, tip - half_z),
        RUBBER,
        **ROBOT,
        name=f"{name}_pad",
        condim=4,
        friction=list(PAD_FRICTION),
        priority=1,
        solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
        solref=[0.006, 1.0],
    )
    box(finger, (0.010, 0.014, 0.012), (outer + side * 0.002, 0, 0.101), BLACK, **VISUAL)


def _couple_fingers(spec: mujoco.MjSpec) -> None:
    """Both fingers move together, driven on their sum (the opening) with limited force."""
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        name1=FINGERS[0],
        name2=FINGERS[1],
        data=[0.0, 1.0, 0.0, 0.0, 0.0, *[0.0] * 7],
        solref=[0.006, 1.0],
    )
    opening = spec.add_tendon(name="opening")
    for name in FINGERS:
        opening.wrap_joint(name, 1.0)
    drive = spec.add_actuator(name="gripper", trntype=mujoco.mjtTrn.mjTRN_TENDON, target="opening")
    drive.set_to_position(kp=DRIVE_STIFFNESS, kv=DRIVE_DAMPING)
    drive.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    drive.forcerange = [-layout.FINGER_FORCE_MAX, layout.FINGER_FORCE_MAX]


def _add_wrist_camera(palm: mujoco.MjsBody) -> None:
    flange_from_camera = layout.flange_from_tcp() @ transform_from_pose(layout.WRIST_POSE)
    rotation, position = flange_from_camera[:3, :3], flange_from_camera[:3, 3]
    behind = position - 0.0125 * rotation[:, 2]
    box(palm, (0.021, 0.021, 0.0115), behind, SILVER, quat=mujoco_quat(flange_from_camera), **ROBOT)
    box(palm, (0.012, 0.016, 0.003), (0, 0.050, 0.022), STEEL, **VISUAL)
    add_camera(palm, name="wrist", parent_from_optical=flange_from_camera)


def add_camera(body: mujoco.MjsBody, *, name: str, parent_from_optical: Transform) -> None:
    """A MuJoCo camera (x right, y up, looks along -z) at an optical frame (x right, y down, z forward)."""
    body.add_camera(
        name=name, pos=list(parent_from_optical[:3, 3]), quat=mujoco_quat(camera_from_optical(parent_from_optical))
    )


def camera_from_optical(parent_from_optical: Transform) -> Transform:
    """The same place with MuJoCo's camera axes."""
    flipped = parent_from_optical.copy()
    flipped[:3, :3] = parent_from_optical[:3, :3] @ np.diag([1.0, -1.0, -1.0])
    return flipped
