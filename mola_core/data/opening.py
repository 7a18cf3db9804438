"""From a path to samples, whatever the format that lies there."""

import os
from collections.abc import Mapping
from pathlib import Path

from mola_core.contracts.io_spec import DataContract
from mola_core.data.errors import DataError
from mola_core.data.sample import WindowSpec
from mola_core.data.sources.calvin import ANNOTATIONS, CalvinEpisodes
from mola_core.data.sources.lerobot import LeRobotEpisodes
from mola_core.data.sources.libero import LiberoEpisodes
from mola_core.data.sources.protocol import EpisodeSource
from mola_core.data.sources.rlds import RldsEpisodes
from mola_core.data.sources.video_folder import SUFFIXES, VideoFolderEpisodes
from mola_core.data.views import may_enlarge
from mola_core.data.windows import Split, WindowedSource


def open_episodes(path: Path, *, name: str | None = None, skip_bad: bool = False) -> EpisodeSource:
    """The dataset at ``path`` as episodes; the format is told by what lies there.

    ``skip_bad`` leaves out the bad files of foreign datasets and lists them in ``skipped``; ours are whole or refused.

    Raises:
        DataError: nothing that any format knows, or a bad file.
    """
    named = name or path.name
    if (path / "meta" / "info.json").is_file():
        return LeRobotEpisodes(path, name=named)
    if (path / ANNOTATIONS).is_file():
        return CalvinEpisodes(path, name=named, skip_bad=skip_bad)
    if any(path.glob("*.tfrecord*")):
        return RldsEpisodes(path, name=named, skip_bad=skip_bad)
    if any(path.rglob("*.hdf5")):
        return LiberoEpisodes(path, name=named, skip_bad=skip_bad)
    if any(file.suffix in SUFFIXES for file in path.rglob("*")):
        return VideoFolderEpisodes(path, name=named, skip_bad=skip_bad)
    raise DataError(
        f"{path} is no dataset of a known format; it may be a LeRobot v3 folder, a CALVIN split, RLDS shards (*.tfrecord*), "
        "LIBERO files (*.hdf5) or captioned videos"
    )


def open_samples(
    path: Path,
    window: WindowSpec,
    *,
    contract: DataContract | None = None,
    name: str | None = None,
    cache_folder: Path | None = None,
    cached: bool = True,
    split: Split = "all",
    validation_share: float = 0.05,
    label_teacher: str | Mapping[str, str] | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
) -> WindowedSource:
    """Samples of the dataset at ``path``; unpacked labels and, with ``cached``, decoded frames are kept in ``cache_folder``.

    That is by default the folder that the environment variable MOLA_CACHE_DIR names, or else ``.mola-cache`` beside the dataset.

    ``label_teacher`` names whose labels, of all kinds or of each; by default those that are there. Pictures made under another
    contract than ``contract`` are enlarged where they are smaller than the window's views (:func:`mola_core.data.views.may_enlarge`).

    Raises:
        DataError: no such dataset, or it lacks what ``window`` asks for.
        ContractMismatchError: ``contract`` is given, the window wants actions, and the dataset was made under another one.
    """
    source = open_episodes(path, name=name, skip_bad=skip_bad)
    if contract is not None and window.horizon:
        source.contract.require(contract, what=f"dataset {path}", where="the recipe")
    return WindowedSource(
        source,
        window,
        cache_folder=cache_folder or _default_cache_folder(path),
        cache_frames=cached,
        split=split,
        validation_share=validation_share,
        label_teacher=label_teacher,
        offset_period_ns=None if contract is None else contract.period_ns,
        may_enlarge=may_enlarge(source.contract, contract),
        quiet=quiet,
    )


def _default_cache_folder(dataset: Path) -> Path:
    named = os.environ.get("MOLA_CACHE_DIR")
    return Path(named) if named else dataset.resolve().parent / ".mola-cache"
