"""From MuJoCo's arrays to :class:`mola_twin.tasks.truth.Truth`."""

import mujoco
import numpy as np

from mola_core.contracts.geometry import Transform
from mola_twin.cell import layout
from mola_twin.cell.contacts import touch_table
from mola_twin.cell.model import CellModel
from mola_twin.tasks.start import SceneStart
from mola_twin.tasks.truth import ObjectTruth, Truth


def read_truth(
    *,
    cell: CellModel,
    data: mujoco.MjData,
    start: SceneStart,
    stamp_ns: int,
    elapsed_s: float,
    button_pressed: bool,
) -> Truth:
    """The truth at the last step. Parked distractors are left out."""
    touches = touch_table(cell, data)
    present = [name for name in cell.movable if name in start.placement.poses]
    objects = {name: _object_truth(cell, data, name=name, touches=touches.get(name, ())) for name in present}
    objects |= {name: _object_truth(cell, data, name=name, touches=touches.get(name, ())) for name in layout.FURNITURE}
    left, right = cell.finger_qpos
    return Truth(
        stamp_ns=stamp_ns,
        elapsed_s=elapsed_s,
        task=start.task,
        stack_top=start.stack_top,
        stack_bottom=start.stack_bottom,
        base_from_tcp=_transform(data.site_xmat[cell.tool_site], data.site_xpos[cell.tool_site]),
        gripper_opening=float(data.qpos[left] + data.qpos[right]) / layout.STROKE,
        objects=objects,
        drawer_opening=float(data.qpos[cell.drawer_qpos]),
        drawer_speed=float(data.qvel[cell.drawer_dof]),
        handle_position=data.site_xpos[cell.handle_site].copy(),
        button_travel=float(data.qpos[cell.button_qpos]),
        button_position=data.site_xpos[cell.button_site].copy(),
        button_pressed=button_pressed,
    )


def _transform(rotation: np.ndarray, position: np.ndarray) -> Transform:
    transform = np.eye(4)
    transform[:3, :3] = rotation.reshape(3, 3)
    transform[:3, 3] = position
    return transform


def _object_truth(cell: CellModel, data: mujoco.MjData, *, name: str, touches: tuple[str, ...]) -> ObjectTruth:
    body = cell.body[name]
    linear = angular = 0.0
    if name in cell.free_dof:
        dof = cell.free_dof[name]
        linear = float(np.linalg.norm(data.qvel[dof : dof + 3]))
        angular = float(np.linalg.norm(data.qvel[dof + 3 : dof + 6]))
    return ObjectTruth(
        base_from_object=_transform(data.xmat[body], data.xpos[body]),
        linear_speed=linear,
        angular_speed=angular,
        touches=touches,
    )
