"""The cell as a MuJoCo model: one scene for all tasks, with or without the distracting objects."""

from dataclasses import dataclass
from functools import lru_cache

import mujoco
import numpy as np

from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.types import JOINT_NAMES
from mola_twin.cell import layout, props
from mola_twin.cell.gripper import FINGERS, add_camera, add_gripper
from mola_twin.cell.paint import add_paints
from mola_twin.cell.ur5e import add_ur5e

TIMESTEP_S = 0.002


@dataclass(frozen=True)
class CellModel:
    """The compiled model and where to find what the cell needs in it."""

    model: mujoco.MjModel
    movable: tuple[str, ...]
    """Names of all free bodies, in qpos order."""
    arm_qpos: slice
    arm_dof: slice
    finger_qpos: np.ndarray
    finger_dof: np.ndarray
    drawer_qpos: int
    drawer_dof: int
    button_qpos: int
    button_dof: int
    free_qpos: dict[str, int]
    free_dof: dict[str, int]
    mocap: dict[str, int]
    body: dict[str, int]
    tool_site: int
    handle_site: int
    button_site: int
    robot_geom: np.ndarray
    """Whether each geom belongs to the arm or the gripper."""
    furniture_geom: np.ndarray
    """Whether each geom is fixed furniture or the table."""
    geom_words: tuple[str, ...]
    """The word for each geom's owner in :class:`mola_twin.tasks.truth.ObjectTruth`: an object, ``table``, a finger, ``arm``."""


def _build_spec(*, distractors: bool) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.modelname = "mola_cell"
    _set_options(spec)
    add_paints(spec)
    props.add_table(spec)
    add_gripper(spec, add_ur5e(spec))
    props.add_bin(spec)
    props.add_cabinet(spec)
    props.add_button(spec)
    props.add_bottle(spec)
    props.add_bowl(spec)
    for name in layout.BLOCKS:
        props.add_block(spec, name)
    if distractors:
        props.add_distractors(spec)
    camera = transform_from_pose(layout.THIRD_PERSON_POSE)
    add_camera(spec.worldbody, name="third_person", parent_from_optical=camera)
    return spec


def _set_options(spec: mujoco.MjSpec) -> None:
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.stat.extent = 1.0
    spec.stat.center = [-0.4, 0.0, 0.1]
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 8.0
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.numslices = 20
    spec.visual.quality.numstacks = 10
    spec.visual.headlight.active = 0
    spec.worldbody.add_light(
        name="sun",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        dir=[-0.25, 0.35, -1.0],
        diffuse=[0.62, 0.62, 0.60],
        ambient=[0.38, 0.38, 0.40],
        specular=[0.12, 0.12, 0.12],
        castshadow=False,
    )


def _owner_word(model: mujoco.MjModel, geom: int) -> str:
    name = str(model.body(model.geom_bodyid[geom]).name)
    if name in FINGERS:
        return name
    if model.geom_contype[geom] & 1:
        return "arm"
    return {"drawer": "cabinet", "plunger": "button", "world": "table"}.get(name, name)


@lru_cache(maxsize=2)
def _compiled(distractors: bool) -> mujoco.MjModel:
    return _build_spec(distractors=distractors).compile()


def build_cell_model(*, distractors: bool = False) -> CellModel:
    """Compile the cell; the result is the caller's own copy (appearance and camera poses may be changed in it)."""
    compiled = _compiled(distractors)
    model = mujoco.MjModel.__copy__(compiled)
    movable = layout.MOVABLE + (layout.DISTRACTORS if distractors else ())

    def joint(name: str) -> int:
        return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)

    def body(name: str) -> int:
        return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)

    def site(name: str) -> int:
        return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name)

    arm = model.jnt_qposadr[joint(JOINT_NAMES[0])]
    arm_dof = model.jnt_dofadr[joint(JOINT_NAMES[0])]
    fingers = [joint(name) for name in FINGERS]
    return CellModel(
        model=model,
        movable=movable,
        arm_qpos=slice(arm, arm + 6),
        arm_dof=slice(arm_dof, arm_dof + 6),
        finger_qpos=model.jnt_qposadr[fingers].copy(),
        finger_dof=model.jnt_dofadr[fingers].copy(),
        drawer_qpos=int(model.jnt_qposadr[joint("drawer")]),
        drawer_dof=int(model.jnt_dofadr[joint("drawer")]),
        button_qpos=int(model.jnt_qposadr[joint("button")]),
        button_dof=int(model.jnt_dofadr[joint("button")]),
        free_qpos={name: int(model.jnt_qposadr[joint(name)]) for name in movable},
        free_dof={name: int(model.jnt_dofadr[joint(name)]) for name in movable},
        mocap={name: int(model.body_mocapid[body(name)]) for name in layout.FURNITURE},
        body={name: body(name) for name in (*movable, *layout.FURNITURE, "drawer", "plunger", *FINGERS)},
        tool_site=site("tool"),
        handle_site=site("handle"),
        button_site=site("button_top"),
        robot_geom=(model.geom_contype & 1) > 0,
        furniture_geom=(model.geom_contype & 4) > 0,
        geom_words=tuple(_owner_word(model, geom) for geom in range(model.ngeom)),
    )
