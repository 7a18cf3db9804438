"""The physics of the cell, one 2 ms step at a time: no clock, no socket, no thread; the same steps give the same bits.

The arm is driven kinematically: before each step its joints are put where the controller says and given the controller's
velocities, so that what touches it feels a moving arm of great inertia and the two processes agree to the last digit.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from mola_core.contracts.errors import MolaError
from mola_core.contracts.types import Joints
from mola_twin.cell import layout
from mola_twin.cell.appearance import apply_appearance, light_button
from mola_twin.cell.contacts import furniture_force, penetrates
from mola_twin.cell.fingers import Fingers
from mola_twin.cell.model import TIMESTEP_S, CellModel, build_cell_model
from mola_twin.cell.observe import read_truth
from mola_twin.tasks.placement import Placement, PlanarPose
from mola_twin.tasks.start import SceneStart, sample_start
from mola_twin.tasks.success import BUTTON_PRESSED_M, Success, SuccessMonitor
from mola_twin.tasks.truth import Truth

JUDGE_EVERY = 10
"""Steps between two verdicts of the success monitor (50 Hz)."""


class ResetRefusedError(MolaError):
    """The arm stands where objects would be put."""


@dataclass(frozen=True, slots=True)
class ArmCommand:
    """Where the controller says the arm is, and what it asks of the gripper (see :data:`mola_twin.link.ARM_DTYPE`)."""

    joint_positions: Joints
    joint_velocities: Joints
    gripper_target: float = 1.0
    gripper_speed: float = 1.0
    gripper_force: float = 0.3
    gripper_stuck: bool = False


@dataclass(frozen=True, slots=True)
class CellState:
    """What the controller may know of the cell (see :data:`mola_twin.link.CELL_DTYPE`)."""

    gripper_opening: float
    gripper_blocked: bool
    contact_force: float


@dataclass(frozen=True)
class _Scene:
    """A start with a model and data of its own."""

    start: SceneStart
    cell: CellModel
    data: mujoco.MjData
    fingers: Fingers


def _build_scene(start: SceneStart, *, joints: Joints, opening: float) -> _Scene:
    """``start`` with the robot as given, everything at rest."""
    cell = build_cell_model(distractors=bool(start.placement.distractors))
    data, fingers = mujoco.MjData(cell.model), Fingers(cell)
    apply_appearance(cell, start.appearance)
    data.qpos[cell.arm_qpos] = joints
    fingers.place(data, opening=opening)
    _put_objects(cell, data, start.placement)
    mujoco.mj_forward(cell.model, data)
    return _Scene(start, cell, data, fingers)


def _put_objects(cell: CellModel, data: mujoco.MjData, placement: Placement) -> None:
    parked = 0
    for name in cell.movable:
        pose = placement.poses.get(name)
        if pose is None:  # a distractor that found no room waits far away
            pose = PlanarPose(2.0, 0.3 * parked, 0.0)
            parked += 1
        at = cell.free_qpos[name]
        data.qpos[at : at + 3] = (pose.x, pose.y, layout.REST_HEIGHT.get(name, 0.0))
        data.qpos[at + 3 : at + 7] = _turn(pose)
    for name in layout.FURNITURE:
        pose = placement.poses[name]
        data.mocap_pos[cell.mocap[name]] = (pose.x, pose.y, 0.0)
        data.mocap_quat[cell.mocap[name]] = _turn(pose)


def _turn(pose: PlanarPose) -> tuple[float, float, float, float]:
    return float(np.cos(pose.yaw / 2)), 0.0, 0.0, float(np.sin(pose.yaw / 2))


class PhysicsCell:
    """The cell at rest with the arm at home, in the start of (press_button, seed 0) until it is reset."""

    def __init__(self) -> None:
        start = sample_start(task="press_button", seed=0)
        self._enter(_build_scene(start, joints=np.array(layout.HOME_JOINTS), opening=1.0))

    def _enter(self, scene: _Scene) -> None:
        self.start = scene.start
        self.cell, self.data, self.fingers = scene.cell, scene.data, scene.fingers
        self.model = scene.cell.model
        self.button_pressed = False
        self.num_steps = 0
        self._monitor = SuccessMonitor(scene.start.task)

    def reset(self, start: SceneStart, *, arm_joints: Joints | None = None) -> None:
        """Put objects and furniture as ``start`` says. The arm and the fingers stay, unless ``arm_joints`` are given
        (lockstep only), which also opens the gripper.

        Raises:
            ResetRefusedError: some part of the robot would stand inside an object; nothing has changed.
        """
        if arm_joints is None:
            joints, opening = self.data.qpos[self.cell.arm_qpos].copy(), self.state().gripper_opening
        else:
            joints, opening = arm_joints, 1.0
        scene = _build_scene(start, joints=joints, opening=opening)
        culprit = penetrates(scene.cell, scene.data)
        if culprit is not None:
            raise ResetRefusedError(
                f"reset of task {start.task} with seed {start.seed} refused: the arm is in the way of {culprit}; "
                "move the arm up or home and ask again"
            )
        self._enter(scene)

    def step(self, command: ArmCommand) -> None:
        """Advance by :data:`mola_twin.cell.model.TIMESTEP_S`."""
        data, cell = self.data, self.cell
        data.qpos[cell.arm_qpos] = command.joint_positions
        data.qvel[cell.arm_dof] = command.joint_velocities
        self.fingers.drive(
            data,
            target=command.gripper_target,
            speed=command.gripper_speed,
            force=command.gripper_force,
            stuck=command.gripper_stuck,
        )
        mujoco.mj_step(self.model, data)
        self.num_steps += 1
        if not self.button_pressed and data.qpos[cell.button_qpos] >= BUTTON_PRESSED_M:
            self.button_pressed = True
            light_button(cell, pressed=True, appearance=self.start.appearance)
        if self.num_steps % JUDGE_EVERY == 0:
            self._monitor.update(self.truth(stamp_ns=0))

    @property
    def elapsed_s(self) -> float:
        """Simulated time since the last reset."""
        return self.num_steps * TIMESTEP_S

    def state(self) -> CellState:
        """Opening, blockage and contact force after the last step."""
        return CellState(
            gripper_opening=min(max(self.fingers.opening_m(self.data) / layout.STROKE, 0.0), 1.0),
            gripper_blocked=self.fingers.blocked,
            contact_force=self.contact_force(),
        )

    def contact_force(self) -> float:
        """Largest force between the robot and table or fixed furniture after the last step, N."""
        return furniture_force(self.cell, self.data)

    def truth(self, *, stamp_ns: int) -> Truth:
        """Everything there is to know, stamped by the caller."""
        return read_truth(
            cell=self.cell,
            data=self.data,
            start=self.start,
            stamp_ns=stamp_ns,
            elapsed_s=self.elapsed_s,
            button_pressed=self.button_pressed,
        )

    def success(self) -> Success:
        """The newest verdict on the running task (at most 20 ms old)."""
        return self._monitor.last
