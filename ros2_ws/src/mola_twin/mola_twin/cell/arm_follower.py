"""How the cell keeps up with the controller: physics runs on the controller's clock, a step for each of its ticks."""

from pathlib import Path

import numpy as np

from mola_core.contracts.errors import MolaError
from mola_core.contracts.shared_block import SharedBlock
from mola_core.contracts.types import Joints
from mola_twin.cell.model import TIMESTEP_S
from mola_twin.cell.physics import ArmCommand
from mola_twin.link import ARM_BLOCK, ARM_DTYPE

MAX_STEPS = 50
"""A gap longer than this is skipped: the controller or this process was stopped, and objects need not make up for it."""


class ArmFollower:
    """Reads the arm's record and says which physics steps it calls for. Attaches again to a restarted controller."""

    def __init__(self, run_dir: Path, *, home: Joints) -> None:
        self._path = run_dir / ARM_BLOCK
        self._block: SharedBlock | None = None
        self._time_s: float | None = None
        self._positions = np.array(home, dtype=np.float64)
        self.dropped_cameras = 0
        """Bit 0 third_person, bit 1 wrist."""

    def steps(self) -> list[ArmCommand]:
        """One command per physics step that the controller is ahead; empty while it says nothing new."""
        record = self._read()
        if record is None:
            return []
        self.dropped_cameras = int(record["camera_drop"])
        time_s, positions = float(record["time_s"]), record["joint_positions"].copy()
        count = 1 if self._time_s is None else round((time_s - self._time_s) / TIMESTEP_S)
        if count == 0:
            return []
        if not 0 < count <= MAX_STEPS:
            count, self._positions = 1, positions
        commands = [
            _command(record, positions=self._positions + (positions - self._positions) * (step / count))
            for step in range(1, count + 1)
        ]
        self._time_s, self._positions = time_s, positions
        return commands

    def close(self) -> None:
        """Detach."""
        if self._block is not None:
            self._block.close()
            self._block = None

    def _read(self) -> np.ndarray | None:
        try:
            if self._block is None or self._block.is_replaced:
                self.close()
                self._block = SharedBlock(self._path, ARM_DTYPE, create=False)
                self._time_s = None
            return self._block.try_read() if self._block.version else None
        except MolaError:  # no controller yet, or it has just gone
            self.close()
            return None


def _command(record: np.ndarray, *, positions: Joints) -> ArmCommand:
    return ArmCommand(
        joint_positions=positions,
        joint_velocities=record["joint_velocities"].copy(),
        gripper_target=float(record["gripper_target"]),
        gripper_speed=float(record["gripper_speed"]),
        gripper_force=float(record["gripper_force"]),
        gripper_stuck=bool(record["gripper_stuck"]),
    )
