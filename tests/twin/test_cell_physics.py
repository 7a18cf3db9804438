"""What the physics promises: the same bits for the same steps, an arm where it is told to be, fingers with limited force."""

import numpy as np
import pytest

from mola_core.control.kinematics import inverse_kinematics
from mola_twin.cell import layout
from mola_twin.cell.model import TIMESTEP_S
from mola_twin.cell.physics import ArmCommand, PhysicsCell, ResetRefusedError
from mola_twin.tasks.start import sample_start
from mola_twin.tasks.variants import VARIANTS

HOME = np.array(layout.HOME_JOINTS)
STILL = np.zeros(6)


def swing(step: int) -> ArmCommand:
    """The arm sweeps about home and the fingers open and close."""
    phase = 2 * np.pi * step * TIMESTEP_S / 2.0
    positions = HOME + 0.2 * np.sin(phase) * np.array([1.0, 0.3, -0.3, 0.5, 0.2, 1.0])
    velocities = 0.2 * np.cos(phase) * np.pi * np.array([1.0, 0.3, -0.3, 0.5, 0.2, 1.0])
    return ArmCommand(positions, velocities, gripper_target=float(np.sin(phase) > 0))


def run(cell: PhysicsCell, steps: int) -> np.ndarray:
    for step in range(steps):
        cell.step(swing(step))
    return np.concatenate([cell.data.qpos, cell.data.qvel])


def hold(cell: PhysicsCell, *, seconds: float, target: float, force: float = 0.3, stuck: bool = False) -> None:
    for _ in range(round(seconds / TIMESTEP_S)):
        cell.step(ArmCommand(HOME, STILL, gripper_target=target, gripper_force=force, gripper_stuck=stuck))


@pytest.mark.parametrize("variant", ["id", "distractors"])
def test_same_steps_give_the_same_bits(variant: str) -> None:
    start = sample_start(task="stack_blocks", seed=5, variant=variant)
    ends = []
    for _ in range(2):
        cell = PhysicsCell()
        run(cell, 100)  # whatever happened before the reset must not matter
        cell.reset(start, arm_joints=HOME)
        ends.append(run(cell, 500))
    assert np.array_equal(ends[0], ends[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_physics_stays_finite_and_objects_stay_put(seed: int) -> None:
    cell = PhysicsCell()
    cell.reset(sample_start(task="grab_bowl", seed=seed, variant="distractors"), arm_joints=HOME)
    before = {name: item.position.copy() for name, item in cell.truth(stamp_ns=0).objects.items()}
    state = run(cell, 1000)
    assert np.isfinite(state).all()
    for name, item in cell.truth(stamp_ns=0).objects.items():
        np.testing.assert_allclose(item.position, before[name], atol=2e-3, err_msg=name)


def test_arm_is_where_the_controller_says() -> None:
    cell = PhysicsCell()
    for step in range(500):
        command = swing(step)
        cell.step(command)
        after = cell.data.qpos[cell.cell.arm_qpos]
        expected = command.joint_positions + TIMESTEP_S * command.joint_velocities
        assert np.abs(after - expected).max() < 1e-3


def test_fingers_reach_both_ends() -> None:
    cell = PhysicsCell()
    hold(cell, seconds=1.0, target=0.0)
    assert cell.state().gripper_opening < 0.02
    assert not cell.state().gripper_blocked
    hold(cell, seconds=1.0, target=1.0)
    assert cell.state().gripper_opening > 0.98


def joints_over(x: float, y: float, z: float) -> np.ndarray:
    """Joints that point the tool straight down at a place."""
    base_from_tcp = layout.top_down(np.array([x, y, z]), 0.0)
    base_from_flange = base_from_tcp @ np.linalg.inv(layout.flange_from_tcp())
    return inverse_kinematics(base_from_flange, near=HOME, position_min=[-6.2] * 6, position_max=[6.2] * 6)


def put_block_between_fingers(cell: PhysicsCell) -> None:
    at = cell.cell.free_qpos["block_a"]
    cell.data.qpos[at : at + 3] = cell.data.site_xpos[cell.cell.tool_site] + (0.0, 0.0, 0.01)
    cell.data.qpos[at + 3 : at + 7] = (1.0, 0.0, 0.0, 0.0)


def test_fingers_stop_at_a_block_and_hold_it() -> None:
    cell = PhysicsCell()
    cell.reset(sample_start(task="stack_blocks", seed=0), arm_joints=HOME)
    for _ in range(60):  # it would fall before the fingers arrive
        hold(cell, seconds=0.01, target=0.4)
        put_block_between_fingers(cell)
        cell.data.qvel[cell.cell.free_dof["block_a"] : cell.cell.free_dof["block_a"] + 6] = 0.0
    hold(cell, seconds=0.5, target=0.0)
    opening = cell.state().gripper_opening
    assert cell.state().gripper_blocked
    assert opening * layout.STROKE == pytest.approx(2 * layout.BLOCK_HALF, abs=0.002)
    assert cell.truth(stamp_ns=0).objects["block_a"].held
    hold(cell, seconds=1.0, target=0.0)
    assert cell.truth(stamp_ns=0).objects["block_a"].position[2] > layout.HOME_TCP[2] - 0.02


def test_stuck_fingers_do_not_move() -> None:
    cell = PhysicsCell()
    hold(cell, seconds=0.5, target=1.0)
    hold(cell, seconds=0.5, target=0.0, stuck=True)
    assert cell.state().gripper_opening > 0.97
    assert cell.state().gripper_blocked


def test_contact_with_the_table_is_felt() -> None:
    cell = PhysicsCell()
    assert cell.state().contact_force == 0.0
    forces = []
    for height in (0.002, -0.002, -0.006):
        low = joints_over(-0.40, -0.25, height)
        cell.step(ArmCommand(low, STILL))
        cell.step(ArmCommand(low, STILL))
        forces.append(cell.state().contact_force)
    assert forces[0] == 0.0
    assert 40.0 < forces[1] < 160.0
    assert forces[2] > 2 * forces[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_reset_leaves_arm_and_fingers_alone(variant: str) -> None:
    cell = PhysicsCell()
    joints = HOME + 0.05
    for _ in range(300):
        cell.step(ArmCommand(joints, STILL, gripper_target=0.5))
    opening = cell.state().gripper_opening
    cell.reset(sample_start(task="press_button", seed=3, variant=variant))
    np.testing.assert_allclose(cell.data.qpos[cell.cell.arm_qpos], joints, atol=1e-9)
    assert cell.state().gripper_opening == pytest.approx(opening, abs=1e-9)
    assert cell.elapsed_s == 0.0


def test_reset_refuses_an_arm_in_the_way_and_changes_nothing() -> None:
    cell = PhysicsCell()
    start = sample_start(task="stack_blocks", seed=4)
    bottle = start.placement.poses["bottle"]
    cell.step(ArmCommand(joints_over(bottle.x, bottle.y, 0.05), STILL, gripper_target=0.0))
    before = cell.start
    with pytest.raises(ResetRefusedError, match="in the way of"):
        cell.reset(start)
    assert cell.start is before
    assert np.isfinite(run(cell, 5)).all()
