"""The cell's arm is the arm of the published parameters, and its site file is this cell's."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from mola_core.contracts.geometry import rotation_from_rotvec, transform_from_pose
from mola_core.contracts.site import Site, load_site
from mola_core.control.collision import CollisionModel
from mola_core.control.kinematics import forward_kinematics, inverse_kinematics
from mola_twin.cell import layout
from mola_twin.cell.model import CellModel, build_cell_model
from mola_twin.tasks.placement import FURNITURE_ZONES, OBJECT_ZONE

SITE = Path(__file__).parents[2] / "launch/sites/twin.yaml"


@pytest.fixture(scope="module")
def cell() -> CellModel:
    return build_cell_model()


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site(SITE)


def tool_in_mujoco(cell: CellModel, joints: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(cell.model)
    data.qpos[cell.arm_qpos] = joints
    mujoco.mj_kinematics(cell.model, data)
    transform = np.eye(4)
    transform[:3, :3] = data.site_xmat[cell.tool_site].reshape(3, 3)
    transform[:3, 3] = data.site_xpos[cell.tool_site]
    return transform


def test_tool_agrees_with_forward_kinematics(cell: CellModel) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        joints = rng.uniform(-np.pi, np.pi, size=6)
        expected = forward_kinematics(joints, layout.TCP_OFFSET)
        np.testing.assert_allclose(tool_in_mujoco(cell, joints), expected, atol=1e-6)


def test_home_joints_put_the_tool_at_the_home_pose(cell: CellModel) -> None:
    expected = layout.top_down(np.array(layout.HOME_TCP), 0.0)
    np.testing.assert_allclose(tool_in_mujoco(cell, np.array(layout.HOME_JOINTS)), expected, atol=1e-4)


def test_site_file_repeats_the_cell(site: Site) -> None:
    assert site.arm.home == layout.HOME_JOINTS
    assert site.arm.tcp_offset == layout.TCP_OFFSET
    assert site.workspace.table_z == 0.0
    for name, pose in layout.CAMERA_POSES.items():
        camera = site.cameras[name]
        assert camera.model == layout.CAMERA_MODELS[name]
        np.testing.assert_allclose(camera.parent_from_camera, transform_from_pose(pose), atol=1e-5)
    assert site.cameras["third_person"].base_from_camera is not None
    assert site.cameras["wrist"].tcp_from_camera is not None


def test_home_is_inside_the_workspace_and_clear_of_everything(site: Site) -> None:
    assert min(CollisionModel(site).margins(site.arm.home)) > 0.01


@pytest.mark.parametrize("yaw", [-np.pi / 2, 0.0, np.pi / 2])
def test_every_object_zone_is_reachable_from_above(site: Site, yaw: float) -> None:
    for zone in (OBJECT_ZONE, FURNITURE_ZONES["button"]):
        for x in zone.x:
            for y in zone.y:
                for z in (0.012, 0.22):
                    base_from_tcp = layout.top_down(np.array([x, y, z]), yaw)
                    base_from_flange = base_from_tcp @ np.linalg.inv(layout.flange_from_tcp())
                    joints = inverse_kinematics(
                        base_from_flange,
                        near=site.arm.home,
                        position_min=site.arm.position_min,
                        position_max=site.arm.position_max,
                    )
                    assert min(CollisionModel(site).margins(list(joints))) > 0.0, (x, y, z)


def test_wrist_camera_looks_at_the_finger_tips() -> None:
    tcp_from_camera = transform_from_pose(layout.WRIST_POSE)
    tips = np.linalg.inv(tcp_from_camera)[:3, 3]
    assert abs(tips[0]) < 1e-6, "tips in the middle column"
    assert 0.0 < tips[1] / tips[2] < np.tan(np.deg2rad(29)), "in the lower half of the image"
    forward = tcp_from_camera[:3, 2]
    np.testing.assert_allclose(forward, rotation_from_rotvec(np.array([-layout.WRIST_TILT, 0, 0]))[:, 2], atol=1e-4)
