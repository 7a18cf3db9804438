"""The smallest dataset of ours."""

from pathlib import Path

import numpy as np

from mola_core.contracts.io_spec import DataContract
from mola_core.data.lerobot.writer import LeRobotWriter


def write_grey(path: Path) -> Path:
    """40 rows of one camera, each of one grey."""
    contract = DataContract(cameras=("wrist",), period_ns=100_000_000)
    with LeRobotWriter(path, contract=contract, cameras={"wrist": (32, 32)}) as writer:
        for row in range(40):
            picture = np.full((32, 32, 3), row, np.uint8)
            writer.add_row(state=np.zeros(13), action=np.zeros(7), images={"wrist": picture})
        writer.end_episode("wait")
        writer.finalize()
    return path
