"""Our own datasets: LeRobot v3, recorded, converted or generated."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mola_core.data.errors import DataError
from mola_core.data.lerobot.reader import EpisodeEntry, LeRobotReader
from mola_core.data.sources.protocol import EpisodeHeader, EpisodeNumbers, Images, require_finite, require_instruction


class LeRobotEpisodes:
    """Episodes of a LeRobot v3 dataset."""

    action_lead = 1

    def __init__(self, path: Path, *, name: str) -> None:
        self.path = path
        self.name = name
        self.reader = LeRobotReader(path)
        self.contract = self.reader.contract
        self.episodes = [_header(entry, path) for entry in self.reader.episodes]
        self.skipped: Sequence[DataError] = ()

    def digest(self) -> str:
        """Of the metadata and the sizes of all videos."""
        digest = hashlib.sha256()
        for file in sorted((self.path / "meta").rglob("*")):
            if file.suffix in {".json", ".parquet"}:
                digest.update(file.relative_to(self.path).as_posix().encode() + file.read_bytes())
        for file in sorted((self.path / "videos").rglob("*.mp4")):
            digest.update(f"{file.relative_to(self.path).as_posix()} {file.stat().st_size}".encode())
        return digest.hexdigest()[:16]

    def numbers(self, episode: int) -> EpisodeNumbers:
        rows = self.reader.rows(episode)
        numbers = EpisodeNumbers(state=rows.state.astype("float32"), action=rows.action.astype("float32"))
        return require_finite(numbers, self.contract, where=f"{self.path}, episode {episode}")

    def frames(self, episode: int, camera: str, rows: Sequence[int] | None = None) -> Images:
        return self.reader.frames(episode, camera, rows)


def _header(entry: EpisodeEntry, path: Path) -> EpisodeHeader:
    return EpisodeHeader(
        length=entry.length,
        instruction=require_instruction(entry.instruction, where=f"{path}, episode {entry.index}"),
        mistakes=tuple((int(first), int(last)) for first, last in entry.meta.get("mistakes", ())),
        meta=entry.meta,
    )
