"""The two records through which the controller process and the cell process of the twin know of each other.

The controller owns the arm's joints and writes :data:`ARM_DTYPE` every 2 ms; the cell owns everything that is touched and
writes :data:`CELL_DTYPE` after every physics step. Both are :class:`mola_core.contracts.shared_block.SharedBlock` records, so either
process may be killed and started again.
"""

import numpy as np

ARM_DTYPE = np.dtype(
    [
        ("time_s", "f8"),  # the controller's clock, as in RTDE "timestamp"
        ("stamp_ns", "i8"),  # epoch
        ("joint_positions", "f8", (6,)),  # rad
        ("joint_velocities", "f8", (6,)),  # rad/s
        ("gripper_target", "f8"),  # opening asked for: 0 closed, 1 open
        ("gripper_speed", "f8"),  # 0..1 of the fastest
        ("gripper_force", "f8"),  # 0..1 of the strongest
        ("gripper_stuck", "u1"),  # fault: the fingers do not move
        ("camera_drop", "u1"),  # fault: bit 0 third_person, bit 1 wrist deliver nothing
    ]
)

CELL_DTYPE = np.dtype(
    [
        ("stamp_ns", "i8"),  # epoch of the physics step; 0 before the first
        ("gripper_opening", "f8"),  # where the fingers are: 0 closed, 1 open
        ("gripper_blocked", "u1"),  # fingers stopped by something before their target
        ("contact_force", "f8"),  # N, largest between arm or gripper and the fixed furniture
    ]
)

ARM_BLOCK = "arm"
CELL_BLOCK = "cell"
