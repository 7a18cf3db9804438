"""Pixels are where a pinhole puts them, depth is what is there, and what a variant promises can be seen."""

import numpy as np
import pytest

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import inverse_transform, transform_from_pose
from mola_core.contracts.types import CameraIntrinsics
from mola_twin.cell import layout, optics
from mola_twin.cell.physics import PhysicsCell
from mola_twin.cell.renderer import CellRenderer
from mola_twin.tasks.start import sample_start
from mola_twin.tasks.variants import VARIANTS

WIDTH, HEIGHT = 424, 240
HOME = np.array(layout.HOME_JOINTS)


def view_of(camera: str) -> CameraIntrinsics:
    return optics.intrinsics(model=layout.CAMERA_MODELS[camera], width=WIDTH, height=HEIGHT)


def draw(cell: PhysicsCell, camera: str) -> tuple[np.ndarray, np.ndarray]:
    with CellRenderer(cell.model, width=WIDTH, height=HEIGHT) as renderer:
        color, depth = renderer.render(cell.model, cell.data, camera=camera, intrinsics=view_of(camera), depth=True)
    assert depth is not None
    return color, depth


def base_from_camera(cell: PhysicsCell, camera: str) -> np.ndarray:
    pose = transform_from_pose(layout.CAMERA_POSES[camera])
    return pose if camera == "third_person" else cell.truth(stamp_ns=0).base_from_tcp @ pose


def points_seen(cell: PhysicsCell, camera: str, depth: np.ndarray) -> np.ndarray:
    """Every pixel's point in the base frame: height x width x 3."""
    view = view_of(camera)
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    depth = np.where(np.isfinite(depth), depth, 100.0)
    rays = np.stack([(columns - view.cx) / view.fx, (rows - view.cy) / view.fy, np.ones_like(rows)], axis=-1)
    transform = base_from_camera(cell, camera)
    return (rays * depth[..., None]) @ transform[:3, :3].T + transform[:3, 3]


@pytest.fixture
def cell() -> PhysicsCell:
    cell = PhysicsCell()
    cell.reset(sample_start(task="stack_blocks", seed=1), arm_joints=HOME)
    return cell


@pytest.mark.parametrize("camera", layout.CAMERA_POSES)
def test_depth_finds_the_table_where_it_is(cell: PhysicsCell, camera: str) -> None:
    color, depth = draw(cell, camera)
    points = points_seen(cell, camera, depth)
    x, y = layout.TABLE_CENTER
    inside = (np.abs(points[..., 0] - x) < 0.5) & (np.abs(points[..., 1] - y) < 0.5)
    on_table = inside & (np.abs(points[..., 2]) < 0.0005)
    assert on_table.mean() > 0.2
    assert points[inside][:, 2].min() > -0.0005, "nothing is seen below the table"
    grey = np.ptp(color[on_table].astype(int), axis=-1) < 40
    assert grey.mean() > 0.99, "the table is grey, and colour and depth share pixels"


@pytest.mark.parametrize("camera", layout.CAMERA_POSES)
def test_blocks_appear_where_the_pinhole_puts_them(cell: PhysicsCell, camera: str) -> None:
    color, depth = draw(cell, camera)
    points = points_seen(cell, camera, depth)
    seen = 0
    for name, channel in zip(layout.BLOCKS, (0, 1, 2), strict=True):
        item = cell.truth(stamp_ns=0).objects[name]
        local = (points - item.position) @ item.base_from_object[:3, :3]
        inside = (np.abs(local) < layout.BLOCK_HALF + 0.002).all(axis=-1) & (points[..., 2] > 0.004)
        if inside.sum() < 60:
            continue  # hidden behind the gripper
        seen += 1
        others = [other for other in range(3) if other != channel]
        pixels = color[inside].astype(int)
        coloured = pixels[:, channel] > 1.5 * pixels[:, others].max(axis=1)
        assert coloured.mean() > 0.97, name
        in_camera = inverse_transform(base_from_camera(cell, camera)) @ np.append(item.position, 1.0)
        view = view_of(camera)
        column = view.fx * in_camera[0] / in_camera[2] + view.cx
        row = view.fy * in_camera[1] / in_camera[2] + view.cy
        rows, columns = np.nonzero(inside)
        assert abs(columns.mean() - column) < 4
        assert abs(rows.mean() - row) < 6
    assert seen >= 2


def test_edge_lies_between_the_two_pixels_that_the_pinhole_says(cell: PhysicsCell) -> None:
    """A plane seen from above ends at a column known to a fraction of a pixel."""
    view = view_of("third_person")
    _, depth = draw(cell, "third_person")
    points = points_seen(cell, "third_person", depth)
    far_edge = layout.TABLE_CENTER[0] - layout.TABLE_HALF[0]
    near_column = WIDTH // 2
    column_points = points[:, near_column]
    rows = np.nonzero(np.abs(column_points[:, 2]) < 0.002)[0]
    last = rows.max()
    in_camera = inverse_transform(base_from_camera(cell, "third_person")) @ np.append(
        [far_edge, column_points[last, 1], 0.0], 1.0
    )
    expected = view.fy * in_camera[1] / in_camera[2] + view.cy
    if expected < HEIGHT - 1:
        assert last == pytest.approx(expected, abs=1.0)
    else:
        assert last == HEIGHT - 1


def test_same_state_draws_the_same_picture(cell: PhysicsCell) -> None:
    one, other = draw(cell, "wrist"), draw(cell, "wrist")
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_every_variant_of_appearance_can_be_seen() -> None:
    pictures = {}
    for variant in VARIANTS:
        cell = PhysicsCell()
        cell.reset(sample_start(task="stack_blocks", seed=2, variant=variant), arm_joints=HOME)
        pictures[variant] = {camera: draw(cell, camera)[0].astype(int) for camera in layout.CAMERA_POSES}
    for camera in layout.CAMERA_POSES:
        plain = pictures["id"][camera]
        assert np.array_equal(pictures["phrasing"][camera], plain)
        for variant in ("lighting", "camera", "colour"):
            assert np.abs(pictures[variant][camera] - plain).mean() > 1.0, (variant, camera)
    assert np.abs(pictures["distractors"]["third_person"] - pictures["id"]["third_person"]).max() > 30


def test_appearance_returns_to_the_training_scene() -> None:
    cell = PhysicsCell()
    start = sample_start(task="press_button", seed=2)
    cell.reset(start, arm_joints=HOME)
    before = draw(cell, "third_person")[0]
    for variant in ("colour", "lighting", "camera"):
        cell.reset(sample_start(task="press_button", seed=2, variant=variant), arm_joints=HOME)
    cell.reset(start, arm_joints=HOME)
    assert np.array_equal(draw(cell, "third_person")[0], before)


def test_raw_depth_is_in_the_cameras_units() -> None:
    depth = np.array([[0.05, 0.5, np.inf]], np.float32)
    assert optics.depth_counts(depth, model="D455", width=848).tolist() == [[0, 500, 0]]
    assert optics.depth_counts(depth, model="D405", width=848).tolist() == [[0, 5000, 0]]
    assert optics.depth_millimetres(depth, model="D405", width=424).tolist() == [[50, 500, 0]]


def test_intrinsics_follow_the_sensor() -> None:
    full = optics.intrinsics(model="D455", width=1280, height=800)
    half_width = np.rad2deg(2 * np.arctan(1280 / 2 / full.fx))
    assert half_width == pytest.approx(90.0, abs=1.5)
    vga = optics.intrinsics(model="D455", width=640, height=480)
    assert vga.fx == pytest.approx(full.fx * 480 / 800), "VGA loses the sides, not the height"
    with pytest.raises(ConfigError, match="'D435' is not known; the twin has D455, D405"):
        optics.intrinsics(model="D435", width=640, height=480)
    with pytest.raises(ConfigError, match="cannot stream 4000x480"):
        optics.intrinsics(model="D405", width=4000, height=480)


def test_centre_crop_is_the_crop_resized() -> None:
    stream = view_of("third_person")
    square = optics.centre_crop(stream, width=128, height=128)
    assert square.fx == pytest.approx(stream.fx * 128 / HEIGHT)
    assert (square.cx, square.cy) == (63.5, 63.5)
