"""Where things lie: a store is a folder of episodes, an episode a folder with a bag and what it says of itself.

    <store>/20261126-231502-7f3a/            an episode, written to its end
        20261126-231502-7f3a_0.mcap
        metadata.yaml                        as rosbag2 writes it: the folder is a bag
        episode.json
    <store>/.20261126-231611-09c4.partial/   being recorded, or left behind by a recorder that was killed
    <store>/.trash/                          dropped episodes, until they are purged

A recording becomes an episode by one rename, so that nobody ever meets half of one under its final name.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S
from mola_core.data.episodes.meta import EpisodeError

META_NAME = "episode.json"
METADATA_NAME = "metadata.yaml"
TRASH_NAME = ".trash"
BALLAST_NAME = ".ballast"
"""Space set aside beside a recording, so that it can be closed on a disk that is full."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


def new_id(*, now_ns: int, salt: int) -> str:
    """Id of an episode that begins now: UTC to the second, and 16 bits of ``salt``; sorts by time."""
    moment = datetime.fromtimestamp(now_ns // NS_PER_S, tz=UTC)
    return f"{moment:%Y%m%d-%H%M%S}-{salt & 0xFFFF:04x}"


def is_id(name: str) -> bool:
    """Whether ``name`` is the name of an episode's folder."""
    return _ID.fullmatch(name) is not None


def episode_folder(store: Path, episode_id: str) -> Path:
    """Where an episode lies once it is written to its end."""
    return store / episode_id


def partial_folder(store: Path, episode_id: str) -> Path:
    """Where it lies before."""
    return store / f".{episode_id}.partial"


def partial_id(folder: Path) -> str | None:
    """Id of the unfinished episode in ``folder``; None where it is no such folder."""
    name = folder.name.removeprefix(".").removesuffix(".partial")
    return name if folder.name == f".{name}.partial" and is_id(name) else None


def bag_name(episode_id: str) -> str:
    """Name of the bag's one file, as rosbag2 numbers them."""
    return f"{episode_id}_0.mcap"


def bag_file(folder: Path) -> Path:
    """The bag in an episode's folder, finished or not.

    Raises:
        EpisodeError: there is none, or more than one.
    """
    found = sorted(folder.glob("*.mcap"))
    if len(found) != 1:
        raise EpisodeError(f"{folder} holds {len(found)} .mcap files, one expected; is it an episode?")
    return found[0]
