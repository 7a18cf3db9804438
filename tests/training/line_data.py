"""A dataset of moving blobs with labels, small enough to train on in seconds, under the twin's contract."""

from pathlib import Path

import numpy as np

from mola_core.contracts.io_spec import DataContract
from mola_core.data.labels.info import LabelCamera, RigidSceneInfo
from mola_core.data.labels.store import LabelFolder
from mola_core.data.lerobot.writer import LeRobotWriter
from mola_core.data.sample import ACTED_ON
from mola_core.training.recipes.twin import CAMERAS, PERIOD_NS

CONTRACT = DataContract(cameras=CAMERAS, period_ns=PERIOD_NS)
HEIGHT, WIDTH = 48, 80
LENGTH = 24
INSTRUCTIONS = ("move to the left", "move to the right")


def write_blobs(
    path: Path,
    *,
    episodes: int = 6,
    contract: DataContract = CONTRACT,
    labelled: bool = True,
    scale: float = 1.0,
    classes: tuple[int, int] = (1, 2),
    led: int = 0,
    enlarged: int = 1,
) -> Path:
    """Each episode moves a blob, and the tool ``scale`` decimetres, one way or the other as told; ``led`` rows are no example.

    Every pixel stands ``enlarged`` times beside and below itself.
    """
    size = (WIDTH * enlarged, HEIGHT * enlarged)
    writer = LeRobotWriter(path, contract=contract, cameras=dict.fromkeys(contract.cameras, size))
    for episode in range(episodes):
        sign = 1.0 if episode % 2 else -1.0
        for row in range(LENGTH):
            x = sign * row / LENGTH
            image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            left = int(36 + 30 * x)
            image[20:28, left : left + 8] = (200, 40, 40)
            state = np.zeros(13, np.float32)
            state[6:9] = (0.1 * scale * x, 0.4, 0.2)
            state[9:12] = (0.0, 3.1, 0.0)
            action = np.concatenate([state[6:12], [float(row > LENGTH // 2)]]).astype(np.float32)
            picture = image.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
            writer.add_row(state=state, action=action, images=dict.fromkeys(contract.cameras, picture))
        writer.end_episode(INSTRUCTIONS[episode % 2], mistakes=[[0, led]] if led else [])
    writer.finalize()
    if labelled:
        _write_labels(path, contract, episodes=episodes, classes=classes)
    return path


def _write_labels(path: Path, contract: DataContract, *, episodes: int, classes: tuple[int, int]) -> None:
    folder = LabelFolder(path, teacher="twin")
    folder.begin(
        RigidSceneInfo(
            teacher="twin",
            cameras=dict.fromkeys(contract.cameras, LabelCamera(width=10, height=6, focal=8.0)),
            depth_unit_m=0.001,
            classes=("nothing", "table", "blob"),
            class_of_geom=classes,
            body_of_geom=(0, 1),
            refers=True,
        )
    )
    still = np.eye(3, 4, dtype=np.float32)
    for episode in range(episodes):
        arrays = {"base_from_body": np.tile(still, (LENGTH, 2, 1, 1))}
        arrays["part_of_class"] = np.tile(np.array([0, 0, ACTED_ON], np.uint8), (LENGTH, 1))
        arrays["base_from_body"][:, 1, 0, 3] = np.linspace(0.0, 0.1, LENGTH)
        for camera in contract.cameras:
            arrays[f"depth/{camera}"] = np.full((LENGTH, 6, 10), 1000, np.uint16)
            arrays[f"geom/{camera}"] = np.zeros((LENGTH, 6, 10), np.uint8)
            arrays[f"geom/{camera}"][:, 2:4, 3:5] = 1
            arrays[f"base_from_camera/{camera}"] = np.tile(still, (LENGTH, 1, 1))
        folder.write(episode, arrays)
