"""The controller's end of the shared records: writes the arm every tick, reads the cell when there is one."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.contracts.shared_block import BlockReplacedError, SharedBlock
from mola_twin.controller.gripper import COUNTS, Gripper
from mola_twin.controller.robot import Robot
from mola_twin.link import ARM_BLOCK, ARM_DTYPE, CELL_BLOCK, CELL_DTYPE

log = logging.getLogger(__name__)

_LOOK_EVERY = 250
"""Ticks between looks for a cell that has appeared."""
_CELL_STALE_NS = NS_PER_S
"""A cell that has not stepped for so long counts as absent."""

CAMERAS = ("third_person", "wrist")
"""Order of the bits in ``camera_drop``."""


@dataclass(frozen=True, slots=True)
class CellReport:
    """What is touched, as the cell sees it."""

    stamp_ns: int
    gripper_opening: float
    """0 closed, 1 open."""
    gripper_blocked: bool
    contact_force: float
    """N, arm or gripper against the furniture."""


class CellLink:
    """Owns the arm's block; attaches to the cell's."""

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.dropped_cameras = 0
        self._arm = SharedBlock(run_dir / ARM_BLOCK, ARM_DTYPE, create=True)
        self._record = np.zeros((), ARM_DTYPE)
        self._positions = self._record["joint_positions"]
        self._velocities = self._record["joint_velocities"]
        self._cell_path = run_dir / CELL_BLOCK
        self._cell: SharedBlock | None = None
        self._last: CellReport | None = None
        self._ticks = 0

    def write_arm(self, *, robot: Robot, gripper: Gripper, now_ns: int) -> None:
        """Publish the arm's state of this tick."""
        record = self._record
        record["time_s"] = robot.time_s
        record["stamp_ns"] = now_ns
        self._positions[:] = robot.joints.positions
        self._velocities[:] = robot.joints.velocities
        record["gripper_target"] = gripper.target
        record["gripper_speed"] = gripper.speed / COUNTS
        record["gripper_force"] = gripper.force / COUNTS
        record["gripper_stuck"] = gripper.stuck
        record["camera_drop"] = self.dropped_cameras
        self._arm.write(record)

    def read_cell(self, *, now_ns: int) -> CellReport | None:
        """What the cell last said; None without a living cell."""
        if self._cell is None:
            self._look()
        if self._cell is None:
            return None
        try:
            record = self._cell.try_read()
        except BlockReplacedError:  # the cell has ended; another may come
            self._cell.close()
            self._cell = self._last = None
            self._ticks = 0
            return None
        if record is not None:
            self._last = CellReport(
                stamp_ns=int(record["stamp_ns"]),
                gripper_opening=float(record["gripper_opening"]),
                gripper_blocked=bool(record["gripper_blocked"]),
                contact_force=float(record["contact_force"]),
            )
        if self._last is None or self._last.stamp_ns == 0 or now_ns - self._last.stamp_ns > _CELL_STALE_NS:
            return None
        return self._last

    def close(self) -> None:
        """Detach from both blocks and remove the arm's."""
        self._arm.close()
        if self._cell is not None:
            self._cell.close()

    def _look(self) -> None:
        """Now and then, attach to a cell that has appeared."""
        self._ticks += 1
        if self._ticks % _LOOK_EVERY != 1 or not self._cell_path.exists():
            return
        try:
            self._cell = SharedBlock(self._cell_path, CELL_DTYPE, create=False)
        except MolaError as error:
            log.warning("%s", error)
            return
        log.info("cell attached")
