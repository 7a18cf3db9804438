"""What an episode says of itself, in ``episode.json`` beside the bag and once more inside it."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import DataError

Pose6 = tuple[float, float, float, float, float, float]


class EpisodeError(DataError):
    """An episode is missing, damaged or not what it says it is."""


class Outcome(StrEnum):
    """How the attempt went, in the operator's judgement."""

    UNKNOWN = "unknown"
    SUCCESS = "success"
    FAILURE = "failure"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CameraStreams(_Record):
    """One camera: where its messages lie in the bag, and where the camera was mounted."""

    color: str
    color_info: str
    metadata: str
    depth: str
    depth_info: str
    mount: str
    model: str
    serial: str
    """Empty where the source has none (a twin, a recorded file)."""
    mounted_on: Literal["base", "tcp"]
    parent_from_camera: Pose6
    """Pose of the colour optical frame in the frame that carries the camera: m, rotation vector in rad."""
    rate_hz: float = Field(gt=0)
    """As configured; what came is in the stamps."""


class EpisodeStreams(_Record):
    """Which topic of the bag holds what."""

    robot_state: str
    commanded: str
    action_chunk: str
    cameras: dict[str, CameraStreams]
    """By role, in the order of the contract."""


class SoftwareState(_Record):
    """From what the recording was made."""

    version: str
    commit: str | None
    """None where the installation is not a git work tree."""
    dirty: bool | None


class EpisodeMeta(_Record):
    """Everything about an episode that is not in its messages."""

    version: Literal[1] = 1
    episode_id: str = Field(min_length=1)
    instruction: str
    operator: str
    task: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    started_ns: int
    """When recording began; host epoch."""
    ended_ns: int | None = None
    """Receive stamp of the last message; None while recording, and where the recorder was killed."""
    ended_by: str = ""
    """Who or what ended it: the operator, a full disk, recovery; empty while recording."""
    recovered: bool = False
    """The recorder was killed: whatever was not yet written then is missing at the end."""
    contract: DataContract
    contract_hash: str
    site_name: str
    site: dict[str, object]
    """The whole site file as it was read."""
    streams: EpisodeStreams
    software: SoftwareState
    lost: dict[str, int] = {}
    """Messages known to be lost, by topic; topics that lost none are not named."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Roles, in the order of the contract."""
        return tuple(self.streams.cameras)

    def to_json(self) -> str:
        """The text of ``episode.json``."""
        return self.model_dump_json(indent=2) + "\n"


def meta_from_json(text: str, *, where: Path) -> EpisodeMeta:
    """Read the text of an ``episode.json``.

    Raises:
        EpisodeError: not JSON, of another version, or a value that cannot be; names file and value.
    """
    try:
        meta = EpisodeMeta.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise EpisodeError(
            f"{where}: {place}: {first['msg']} (got {first['input']!r:.60}); mola episode recover rebuilds it from the bag"
        ) from error
    if meta.contract.hash != meta.contract_hash:
        raise EpisodeError(
            f"{where}: contract_hash {meta.contract_hash} is not that of its contract, {meta.contract.hash}"
        )
    return meta
