"""Does the `lerobot` package itself load a dataset? ``python lerobot_loads.py DATASET`` with a Python that has lerobot 0.4.4.

Not part of the test run: lerobot pulls gigabytes. Every row is fetched through ``LeRobotDataset`` and compared with the parquet file;
pictures of some rows are compared with the frames that PyAV decodes.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch.utils.data import DataLoader

PICTURES = 20
HORIZON = 8


def main(path: Path) -> int:
    plain = LeRobotDataset("local/check", root=path)
    windowed = LeRobotDataset(
        "local/check", root=path, delta_timestamps={"action": [i / plain.fps for i in range(HORIZON)]}
    )
    rows = pq.ParquetDataset(sorted(path.glob("data/*/*.parquet"))).read().to_pylist()
    assert len(plain) == len(windowed) == len(rows) == plain.meta.total_frames, "number of rows"
    for column in ("observation.state", "action", "timestamp", "episode_index"):
        got = np.array([np.asarray(value) for value in plain.hf_dataset[column]])
        assert np.array_equal(got, np.float32([row[column] for row in rows])), column
    worst = 0.0
    for index in np.linspace(0, len(rows) - 1, PICTURES).astype(int):
        item = windowed[int(index)]
        assert item["action"].shape == (HORIZON, len(rows[0]["action"])), "action window"
        assert item["task"], "task"
        episode = plain.meta.episodes[rows[index]["episode_index"]]
        for key in plain.meta.video_keys:
            first = round(episode[f"videos/{key}/from_timestamp"] * plain.fps)
            file = path / plain.meta.get_video_file_path(rows[index]["episode_index"], key)
            want = frame_of(file, first + rows[index]["frame_index"])
            got = (item[key].numpy().transpose(1, 2, 0) * 255).round()
            worst = max(worst, float(np.abs(got - want).mean()))
    assert worst < 1.0, f"pictures differ by {worst} grey levels"
    batch = next(iter(DataLoader(windowed, batch_size=4, shuffle=True)))
    shapes = {key: tuple(value.shape) for key, value in batch.items() if key in ("action", *plain.meta.video_keys)}
    print(
        f"lerobot {version('lerobot')}, {plain.video_backend}: {plain.num_episodes} episodes, {len(plain)} rows load and agree;"
    )
    print(f"pictures within {worst:.2f} grey levels of PyAV; a batch: {shapes}")
    return 0


def frame_of(file: Path, number: int) -> np.ndarray:
    with av.open(str(file)) as container:
        for at, frame in enumerate(container.decode(video=0)):
            if at == number:
                return frame.to_ndarray(format="rgb24").astype(float)
    raise AssertionError(f"{file} has no frame {number}")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
