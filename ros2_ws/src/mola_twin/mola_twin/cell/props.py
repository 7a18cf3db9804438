"""Table, furniture, things to carry and distractors, from primitives."""

import mujoco
import numpy as np

from mola_twin.cell import layout
from mola_twin.cell.shapes import FURNITURE, MOVABLE, VISUAL, box, capsule, cylinder, ellipsoid, quat

SOFT = {"friction": [1.0, 0.01, 0.0005], "condim": 4}
NUM_BOWL_STAVES = 16


def add_table(spec: mujoco.MjSpec) -> None:
    """A plane to stand on (contacts with it are analytic and steady) under a visible slab, and a floor far below."""
    world = spec.worldbody
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    world.add_geom(name="table", type=plane, size=[2, 2, 0.1], group=4, rgba=[0, 0, 0, 0], **FURNITURE, **SOFT)
    x, y = layout.TABLE_CENTER
    thickness = layout.TABLE_THICKNESS
    box(
        world,
        (*layout.TABLE_HALF, thickness / 2),
        (x, y, -thickness / 2),
        (0.66, 0.63, 0.58, 1),
        name="table_top",
        **VISUAL,
    )
    box(world, (6.0, 6.0, 0.01), (0, 0, -0.8), (0.33, 0.35, 0.38, 1), name="floor", **VISUAL)
    box(world, (0.01, 6.0, 1.5), (1.5, 0, 0.7), (0.55, 0.59, 0.62, 1), name="wall", **VISUAL)


def add_bin(spec: mujoco.MjSpec) -> None:
    """An open box on the table; its frame is the middle of its floor."""
    body = spec.worldbody.add_body(name="bin", mocap=True)
    half, height, wall = layout.BIN_HALF, layout.BIN_HEIGHT, layout.BIN_WALL
    box(body, (half, half, 0.003), (0, 0, 0.003), "bin/floor", **FURNITURE)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        size = (wall if x else half, wall if y else half, height / 2)
        offset = half - wall
        box(body, size, (x * offset, y * offset, height / 2), "bin", **FURNITURE)


def add_cabinet(spec: mujoco.MjSpec) -> None:
    """A cabinet with one drawer; its frame is on the table below the middle, the front faces its -y axis."""
    cabinet = spec.worldbody.add_body(name="cabinet", mocap=True)
    half_w, half_d, half_h = layout.CABINET_HALF
    wall = 0.006
    for side in (-1, 1):
        box(cabinet, (wall, half_d, half_h), (side * (half_w - wall), 0, half_h), "cabinet", **FURNITURE)
        box(cabinet, (half_w, half_d, wall), (0, 0, half_h + side * (half_h - wall)), "cabinet", **FURNITURE)
    box(cabinet, (half_w, wall, half_h), (0, half_d - wall, half_h), "cabinet", **FURNITURE)
    drawer = cabinet.add_body(name="drawer", gravcomp=1.0)
    drawer.explicitinertial = True
    drawer.mass, drawer.inertia, drawer.ipos = 0.5, [0.002] * 3, [0, 0, half_h]
    drawer.add_joint(
        name="drawer",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, -1, 0],
        range=[0.0, layout.DRAWER_TRAVEL],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        damping=8.0,
        frictionloss=1.5,
    )
    width, low, high = half_w - 3 * wall, 3 * wall, 2 * half_h - 3 * wall
    middle, half = (low + high) / 2, (high - low) / 2
    moving = {**MOVABLE, "conaffinity": 3}
    box(drawer, (width, 0.005, half), (0, -half_d + 0.005, middle), "cabinet/drawer", name="drawer_front", **moving)
    box(drawer, (width, half_d - 3 * wall, 0.003), (0, -wall, low + 0.003), "cabinet/drawer", **VISUAL)
    for side in (-1, 1):
        box(
            drawer,
            (0.003, half_d - 3 * wall, half * 0.7),
            (side * (width - 0.004), -wall, middle - 0.01),
            "cabinet/drawer",
            **VISUAL,
        )
    _add_handle(drawer, front=-half_d)


def _add_handle(drawer: mujoco.MjsBody, *, front: float) -> None:
    y, z, radius = front - layout.HANDLE_STANDOFF, layout.HANDLE_HEIGHT, layout.HANDLE_RADIUS
    white, half = (0.93, 0.93, 0.92, 1), 0.045
    grip = {"condim": 4, "friction": [1.2, 0.02, 0.0005]}
    capsule(drawer, radius, (-half, y, z), (half, y, z), white, name="handle", **MOVABLE, **grip)
    for x in (-half, half):
        cylinder(drawer, radius * 0.9, (x, y, z), (x, front, z), white, **MOVABLE)
    drawer.add_site(name="handle", pos=[0, y, z])


def add_button(spec: mujoco.MjSpec) -> None:
    """A spring-loaded push button on a base; its frame is on the table below the middle."""
    base = spec.worldbody.add_body(name="button", mocap=True)
    height = 2 * layout.BUTTON_BASE_HALF[2]
    box(base, layout.BUTTON_BASE_HALF, (0, 0, height / 2), (0.13, 0.13, 0.14, 1), **FURNITURE)
    plunger = base.add_body(name="plunger", gravcomp=1.0)
    plunger.explicitinertial = True
    plunger.mass, plunger.inertia, plunger.ipos = 0.03, [1e-5] * 3, [0, 0, height]
    plunger.add_joint(
        name="button",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, 0, -1],
        range=[0.0, layout.BUTTON_TRAVEL],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        stiffness=400.0,
        springref=-0.005,
        damping=4.0,
        armature=0.05,
    )
    top = height + layout.BUTTON_HEIGHT
    cylinder(plunger, layout.BUTTON_RADIUS, (0, 0, height - 0.012), (0, 0, top), "button", name="plunger", **MOVABLE)
    plunger.add_site(name="button_top", pos=[0, 0, top])


def _free_body(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    return body


def add_block(spec: mujoco.MjSpec, name: str) -> None:
    """A wooden cube; its frame is its centre."""
    half = layout.BLOCK_HALF
    box(_free_body(spec, name), (half, half, half), (0, 0, 0), name, mass=0.06, **MOVABLE, **SOFT)


def add_bottle(spec: mujoco.MjSpec) -> None:
    """A bottle that is held by its neck; its frame is the middle of its foot."""
    body = _free_body(spec, "bottle")
    radius, neck, shoulder = layout.BOTTLE_RADIUS, layout.NECK_RADIUS, layout.BOTTLE_BODY
    top = shoulder + layout.NECK_LENGTH
    cylinder(body, radius, (0, 0, 0), (0, 0, shoulder), "bottle", mass=0.14, **MOVABLE, **SOFT)
    ellipsoid(body, (radius * 0.98, radius * 0.98, 0.022), (0, 0, shoulder), "bottle", **VISUAL)
    cylinder(body, neck, (0, 0, shoulder), (0, 0, top), "bottle", mass=0.01, **MOVABLE, **SOFT)
    cylinder(
        body, neck + 0.001, (0, 0, top - 0.014), (0, 0, top + 0.001), (0.95, 0.95, 0.95, 1), name="bottle_cap", **VISUAL
    )
    cylinder(body, radius + 0.0006, (0, 0, 0.03), (0, 0, 0.07), "bottle/label", name="bottle_label", **VISUAL)


def add_bowl(spec: mujoco.MjSpec) -> None:
    """A bowl of staves around a disc; its frame is the middle of its foot."""
    body = _free_body(spec, "bowl")
    radius, height, wall = layout.BOWL_RADIUS, layout.BOWL_HEIGHT, layout.BOWL_WALL
    foot = 0.72 * radius
    cylinder(body, foot, (0, 0, 0), (0, 0, 0.006), "bowl/foot", mass=0.06, **MOVABLE, **SOFT)
    knee = 0.4 * height
    for index in range(NUM_BOWL_STAVES):
        angle = 2 * np.pi * (index + 0.5) / NUM_BOWL_STAVES
        direction = np.array([np.cos(angle), np.sin(angle), 0.0])
        half_chord = radius * np.tan(np.pi / NUM_BOWL_STAVES)
        upright = direction * (radius - wall / 2)
        upright[2] = (knee + height) / 2
        half = (wall / 2, half_chord, (height - knee) / 2)
        box(body, half, upright, "bowl", quat=quat((0, 0, angle)), mass=0.004, **MOVABLE, **SOFT)
        _add_bowl_shoulder(body, direction, angle, inner=foot, outer=radius - wall / 2, knee=knee)


def _add_bowl_shoulder(
    body: mujoco.MjsBody,
    direction: np.ndarray,
    angle: float,
    *,
    inner: float,
    outer: float,
    knee: float,
) -> None:
    """The slanting stave between the foot and an upright one; seen, not touched."""
    slope = float(np.arctan2(knee - 0.003, outer - inner))
    length = float(np.hypot(knee - 0.003, outer - inner))
    middle = direction * (inner + outer) / 2
    middle[2] = (knee + 0.003) / 2
    cosine, sine = np.cos(angle / 2), np.sin(angle / 2)
    tilt_w, tilt_y = np.cos(-slope / 2), np.sin(-slope / 2)
    turn = [cosine * tilt_w, -sine * tilt_y, cosine * tilt_y, sine * tilt_w]  # about z, then about the stave's own y
    half_chord = outer * np.tan(np.pi / NUM_BOWL_STAVES)
    box(body, (length / 2, half_chord, 0.003), middle, "bowl", quat=turn, **VISUAL)


def add_distractors(spec: mujoco.MjSpec) -> None:
    """Four things that no instruction names."""
    mug = _free_body(spec, "mug")
    cylinder(mug, 0.034, (0, 0, 0), (0, 0, 0.075), (0.25, 0.45, 0.45, 1), mass=0.15, **MOVABLE, **SOFT)
    cylinder(mug, 0.029, (0, 0, 0.0735), (0, 0, 0.0755), (0.12, 0.08, 0.05, 1), **VISUAL)
    for start, end in (
        ((0.03, 0, 0.06), (0.055, 0, 0.06)),
        ((0.055, 0, 0.06), (0.055, 0, 0.02)),
        ((0.055, 0, 0.02), (0.03, 0, 0.02)),
    ):
        capsule(mug, 0.005, start, end, (0.25, 0.45, 0.45, 1), **VISUAL)
    can = _free_body(spec, "can")
    cylinder(can, 0.030, (0, 0, 0), (0, 0, 0.10), (0.75, 0.20, 0.45, 1), mass=0.12, **MOVABLE, **SOFT)
    cylinder(can, 0.028, (0, 0, 0.1), (0, 0, 0.102), (0.8, 0.8, 0.82, 1), **VISUAL)
    book = _free_body(spec, "book")
    box(book, (0.055, 0.040, 0.010), (0, 0, 0.010), (0.30, 0.22, 0.42, 1), mass=0.2, **MOVABLE, **SOFT)
    box(book, (0.054, 0.041, 0.008), (0.002, 0, 0.010), (0.93, 0.91, 0.85, 1), **VISUAL)
    pear = _free_body(spec, "pear")
    cylinder(pear, 0.020, (0, 0, 0), (0, 0, 0.01), (0.72, 0.75, 0.25, 1), mass=0.1, **MOVABLE, **SOFT)
    ellipsoid(pear, (0.032, 0.032, 0.030), (0, 0, 0.03), (0.72, 0.75, 0.25, 1), mass=0.02, **MOVABLE, **SOFT)
    ellipsoid(pear, (0.019, 0.019, 0.030), (0, 0, 0.058), (0.72, 0.75, 0.25, 1), **VISUAL)
    capsule(pear, 0.003, (0, 0, 0.085), (0.004, 0, 0.1), (0.3, 0.2, 0.1, 1), **VISUAL)
