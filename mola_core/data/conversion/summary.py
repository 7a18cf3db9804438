"""What a dataset holds, in figures."""

from collections import Counter
from dataclasses import dataclass

from mola_core.data.lerobot.reader import LeRobotReader

_SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Summary:
    """Of one dataset."""

    path: str
    contract_hash: str
    fps: int
    cameras: dict[str, tuple[int, int]]
    """(width, height)."""
    episodes: int
    rows: int
    hours: float
    instructions: dict[str, int]
    """Episodes of each."""
    outcomes: dict[str, int]
    """Episodes of each; ``unstated`` where the writer did not say."""
    intervention_rows: int
    data_bytes: int
    video_bytes: int


def summarise(dataset: LeRobotReader) -> Summary:
    """Read the metadata, and of the rows whether they are interventions."""
    return Summary(
        path=str(dataset.path),
        contract_hash=dataset.contract.hash,
        fps=dataset.fps,
        cameras=dict(dataset.spec.cameras),
        episodes=len(dataset.episodes),
        rows=dataset.num_rows,
        hours=dataset.num_rows / dataset.fps / _SECONDS_AN_HOUR,
        instructions=dict(Counter(entry.instruction for entry in dataset.episodes).most_common()),
        outcomes=dict(Counter(str(entry.meta.get("outcome", "unstated")) for entry in dataset.episodes)),
        intervention_rows=sum(int(dataset.rows(entry.index).intervention.sum()) for entry in dataset.episodes),
        data_bytes=sum(path.stat().st_size for path in dataset.path.glob("data/*/*.parquet")),
        video_bytes=sum(path.stat().st_size for path in dataset.path.glob("videos/*/*/*.mp4")),
    )
