"""The UR5e from its published Denavit-Hartenberg parameters, dressed in capsules and cylinders.

Body i turns about the z axis of DH frame i - 1 and its own frame *is* DH frame i - 1 turned by joint i; the shapes
follow the arm's published outline (upper arm 138 mm beside the shoulder axis, forearm 7 mm).
"""

import mujoco
import numpy as np

from mola_core.contracts.types import JOINT_NAMES
from mola_twin.cell import layout
from mola_twin.cell.shapes import ROBOT, VISUAL, capsule, cylinder, quat

GREY = (0.78, 0.79, 0.80, 1.0)
DARK = (0.30, 0.31, 0.33, 1.0)
BLUE = (0.36, 0.62, 0.80, 1.0)

ARMATURE = 5.0
"""kg m^2. The joints are driven kinematically; a large reflected inertia keeps contact forces of one step from moving them."""
LINK_MASS = (3.7, 8.4, 2.3, 1.2, 1.2, 0.25)


def add_ur5e(spec: mujoco.MjSpec) -> mujoco.MjsBody:
    """Build the arm on the world's origin and return the body of its flange."""
    base = spec.worldbody.add_body(name="base")
    cylinder(base, 0.075, (0, 0, 0), (0, 0, 0.09), GREY, **VISUAL)
    cylinder(base, 0.077, (0, 0, 0), (0, 0, 0.015), DARK, **VISUAL)
    parent = base
    links = []
    for joint, name in enumerate(JOINT_NAMES):
        parent = _add_link(parent, joint=joint, name=name)
        links.append(parent)
    for dress, link in zip((_shoulder, _upper_arm, _forearm, _wrist_1, _wrist_2, _wrist_3), links, strict=True):
        dress(link)
    return links[-1].add_body(name="flange", pos=[0, 0, layout.DH_D[5]])


def _add_link(parent: mujoco.MjsBody, *, joint: int, name: str) -> mujoco.MjsBody:
    """Place body ``joint`` at the end of the previous DH row: Tz(d) Tx(a) Rx(alpha)."""
    if joint == 0:
        pos, turn = [0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
    else:
        pos = [layout.DH_A[joint - 1], 0.0, layout.DH_D[joint - 1]]
        turn = quat((layout.DH_ALPHA[joint - 1], 0.0, 0.0))
    link = parent.add_body(name=name.removesuffix("_joint"), pos=pos, quat=turn, gravcomp=1.0)
    link.explicitinertial = True
    link.mass = LINK_MASS[joint]
    link.inertia = [0.01 * LINK_MASS[joint]] * 3
    link.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0, 0, 1],
        range=[-2 * np.pi, 2 * np.pi],
        limited=mujoco.mjtLimited.mjLIMITED_FALSE,
        armature=ARMATURE,
    )
    return link


def _shoulder(link: mujoco.MjsBody) -> None:
    top = layout.DH_D[0]
    cylinder(link, 0.060, (0, 0, 0.09), (0, 0, top + 0.055), GREY, **VISUAL)
    cylinder(link, 0.060, (0, 0, top), (0, -0.085, top), GREY, **VISUAL)
    cylinder(link, 0.058, (0, 0.062, top), (0, 0.0, top), BLUE, **VISUAL)


def _upper_arm(link: mujoco.MjsBody) -> None:
    length = layout.DH_A[1]
    cylinder(link, 0.060, (0, 0, 0.075), (0, 0, 0.190), GREY, **VISUAL)
    cylinder(link, 0.058, (0, 0, 0.190), (0, 0, 0.203), BLUE, **VISUAL)
    capsule(link, 0.046, (-0.03, 0, 0.138), (length + 0.03, 0, 0.138), GREY, **ROBOT)
    cylinder(link, 0.050, (length, 0, 0.080), (length, 0, 0.190), GREY, **VISUAL)
    cylinder(link, 0.048, (length, 0, 0.190), (length, 0, 0.201), BLUE, **VISUAL)


def _forearm(link: mujoco.MjsBody) -> None:
    length = layout.DH_A[2]
    cylinder(link, 0.050, (0, 0, -0.035), (0, 0, 0.080), GREY, **VISUAL)
    capsule(link, 0.038, (-0.02, 0, 0.012), (length + 0.02, 0, 0.012), GREY, **ROBOT)
    cylinder(link, 0.040, (length, 0, -0.035), (length, 0, 0.075), GREY, **VISUAL)
    cylinder(link, 0.038, (length, 0, -0.035), (length, 0, -0.046), BLUE, **VISUAL)


def _wrist_1(link: mujoco.MjsBody) -> None:
    out = layout.DH_D[3]
    cylinder(link, 0.038, (0, 0, 0.075), (0, 0, out + 0.035), GREY, **ROBOT)
    cylinder(link, 0.036, (0, 0, out + 0.035), (0, 0, out + 0.046), BLUE, **VISUAL)
    cylinder(link, 0.038, (0, 0.03, out), (0, -0.045, out), GREY, **VISUAL)


def _wrist_2(link: mujoco.MjsBody) -> None:
    out = layout.DH_D[4]
    cylinder(link, 0.038, (0, 0, 0.045), (0, 0, out + 0.030), GREY, **ROBOT)
    cylinder(link, 0.036, (0, 0, out + 0.030), (0, 0, out + 0.041), BLUE, **VISUAL)
    cylinder(link, 0.038, (0, 0.03, out), (0, -0.045, out), GREY, **VISUAL)


def _wrist_3(link: mujoco.MjsBody) -> None:
    out = layout.DH_D[5]
    cylinder(link, 0.037, (0, 0, 0.045), (0, 0, out), DARK, **ROBOT)
