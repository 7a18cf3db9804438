"""Dressing a model for an episode: colours, light and camera poses. The physics does not notice."""

import mujoco
import numpy as np

from mola_core.contracts.geometry import transform_from_pose
from mola_twin.cell import layout
from mola_twin.cell.gripper import camera_from_optical, mujoco_quat
from mola_twin.cell.model import CellModel
from mola_twin.cell.paint import repaint
from mola_twin.tasks.variants import Appearance

BUTTON_LIT = (0.25, 0.95, 0.30, 1.0)
"""The button glows in this colour once it has been pressed."""


def apply_appearance(cell: CellModel, appearance: Appearance) -> None:
    """Paint ``cell``'s model in place; anything ``appearance`` does not mention returns to the training scene."""
    repaint(cell.model, appearance.colours)
    light = appearance.light
    cell.model.light_dir[0] = np.array(light.direction) / np.linalg.norm(light.direction)
    cell.model.light_diffuse[0] = light.diffuse
    cell.model.light_ambient[0] = light.ambient
    for name in layout.CAMERA_POSES:
        _place_camera(cell.model, name=name, appearance=appearance)


def light_button(cell: CellModel, *, pressed: bool, appearance: Appearance) -> None:
    """Show whether the button has been pressed since the start of the episode."""
    repaint(cell.model, {**appearance.colours, "button": BUTTON_LIT} if pressed else appearance.colours)


def _place_camera(model: mujoco.MjModel, *, name: str, appearance: Appearance) -> None:
    camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    parent_from_optical = transform_from_pose(layout.CAMERA_POSES[name])
    if name == "wrist":
        parent_from_optical = layout.flange_from_tcp() @ parent_from_optical
    if name in appearance.camera_offsets:
        parent_from_optical = parent_from_optical @ transform_from_pose(appearance.camera_offsets[name])
    model.cam_pos[camera] = parent_from_optical[:3, 3]
    model.cam_quat[camera] = mujoco_quat(camera_from_optical(parent_from_optical))
