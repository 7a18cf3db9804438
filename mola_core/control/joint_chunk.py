"""An action chunk that has passed the door: finite, in range, fresh, and in joint space."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class JointChunk:
    """What the servo core executes; made by :func:`mola_core.control.validation.prepare_chunk` alone.

    The fields are those of :class:`mola_core.contracts.types.ActionChunk`, with TCP poses turned into joints.
    """

    sequence: int
    source: str
    bundle_id: str
    stamp_ns: int
    alive_stamp_ns: int
    start_ns: int
    period_ns: int
    joint_targets: Float[np.ndarray, "horizon 6"]
    """Absolute joint positions, rad."""
    gripper_openings: Float[np.ndarray, "horizon"]
    """0 closed, 1 fully open."""
    execute_steps: int
    final: bool

    @property
    def horizon(self) -> int:
        """Number of rows."""
        return len(self.gripper_openings)

    @property
    def is_release(self) -> bool:
        """Asks for rest at once instead of motion."""
        return self.final and self.execute_steps == 0

    @property
    def end_ns(self) -> int:
        """Stamp that the last row is meant for."""
        return self.start_ns + (self.horizon - 1) * self.period_ns
