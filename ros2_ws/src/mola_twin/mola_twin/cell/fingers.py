"""The gripper's drive: a ramp at the asked speed, a spring with the asked force, and a verdict when something is in between."""

import mujoco
import numpy as np

from mola_twin.cell import layout
from mola_twin.cell.gripper import DRIVE_STIFFNESS
from mola_twin.cell.model import TIMESTEP_S, CellModel

REACHED_M = 0.0015
STILL_M_S = 0.002
BLOCKED_AFTER_S = 0.06


class Fingers:
    """Drives the fingers of one model's data towards an opening between 0 (closed) and 1 (open)."""

    def __init__(self, cell: CellModel) -> None:
        self._cell = cell
        self._ramp_m = layout.STROKE
        self._still_s = 0.0
        self._stuck_at_m: float | None = None

    def opening_m(self, data: mujoco.MjData) -> float:
        """Distance between the pads, m."""
        left, right = self._cell.finger_qpos
        return float(data.qpos[left] + data.qpos[right])

    def place(self, data: mujoco.MjData, *, opening: float) -> None:
        """Put the fingers at ``opening`` at once, at rest."""
        data.qpos[self._cell.finger_qpos] = opening * layout.STROKE / 2
        data.qvel[self._cell.finger_dof] = 0.0
        data.ctrl[0] = self._ramp_m = opening * layout.STROKE
        self._still_s = 0.0

    def drive(self, data: mujoco.MjData, *, target: float, speed: float, force: float, stuck: bool) -> None:
        """Set the drive for the next step; all arguments as in :data:`mola_twin.link.ARM_DTYPE`."""
        opening_m = self.opening_m(data)
        grip_n = layout.FINGER_FORCE_MIN + force * (layout.FINGER_FORCE_MAX - layout.FINGER_FORCE_MIN)
        self._stuck_at_m = (opening_m if self._stuck_at_m is None else self._stuck_at_m) if stuck else None
        if self._stuck_at_m is not None:
            self._ramp_m = self._stuck_at_m
        else:
            step = (layout.FINGER_SPEED_MIN + speed * (layout.FINGER_SPEED_MAX - layout.FINGER_SPEED_MIN)) * TIMESTEP_S
            target_m = min(max(target, 0.0), 1.0) * layout.STROKE
            self._ramp_m += min(max(target_m - self._ramp_m, -step), step)
            # the ramp may run ahead only as far as the spring needs for its force, or letting go would come late
            reach = grip_n / DRIVE_STIFFNESS
            self._ramp_m = min(max(self._ramp_m, opening_m - reach), opening_m + reach)
        data.ctrl[0] = self._ramp_m
        self._cell.model.actuator_forcerange[0] = (-grip_n, grip_n)
        self._watch(data, target_m=min(max(target, 0.0), 1.0) * layout.STROKE, opening_m=opening_m)

    def _watch(self, data: mujoco.MjData, *, target_m: float, opening_m: float) -> None:
        speed = float(np.abs(data.qvel[self._cell.finger_dof]).max())
        waiting = abs(target_m - opening_m) > REACHED_M and speed < STILL_M_S
        self._still_s = self._still_s + TIMESTEP_S if waiting else 0.0

    @property
    def blocked(self) -> bool:
        """Whether the fingers have stood still before their target for a while."""
        return self._still_s >= BLOCKED_AFTER_S
