"""``mola view EPISODE | DATASET | live``."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    import rerun

_LIVE = "live"
_SITE = Path("launch/sites/twin.yaml")
_APPLICATION = "mola"


def register(subparsers: Any) -> None:
    """Add ``view``."""
    parser = subparsers.add_parser("view", help="an episode, a dataset or the live graph in rerun's viewer")
    parser.add_argument("what", help="folder of an episode or of a dataset, or live")
    parser.add_argument("--episode", type=int, default=0, help="number of the episode in a dataset (0)")
    parser.add_argument("--depth", action="store_true", help="show recorded depth as points in space")
    parser.add_argument("--save", type=Path, metavar="FILE.rrd", help="write a file instead of opening the viewer")
    parser.add_argument("--seconds", type=float, help="look at the live graph for so long (until interrupted)")
    parser.add_argument("--site", type=Path, default=_SITE, help=f"site file, for the live graph ({_SITE})")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.data.episodes.layout import META_NAME  # noqa: PLC0415  # help stays fast
    from mola_core.data.lerobot.layout import INFO  # noqa: PLC0415

    if arguments.seconds is not None and arguments.seconds <= 0:
        raise ConfigError(f"--seconds {arguments.seconds} is not positive")
    path = Path(arguments.what)
    if arguments.what == _LIVE:
        _live(arguments)
    elif (path / META_NAME).exists():
        _episode(path, arguments)
    elif (path / INFO).exists():
        _dataset(path, arguments)
    else:
        raise ConfigError(f"{arguments.what} is neither an episode, nor a dataset, nor the word {_LIVE}")
    if arguments.save is not None:
        print(f"{arguments.save}: open it with: rerun {arguments.save}")  # noqa: T201
    return 0


def _episode(path: Path, arguments: argparse.Namespace) -> None:
    from mola_core.data.episodes.reader import EpisodeReader  # noqa: PLC0415  # help stays fast
    from mola_core.viewing.episodes import show_episode, stage_of_episode  # noqa: PLC0415

    with EpisodeReader(path) as episode, _recording(arguments.save) as recording:
        show_episode(episode, stage_of_episode(episode, recording), depth=arguments.depth)


def _dataset(path: Path, arguments: argparse.Namespace) -> None:
    from mola_core.data.lerobot.reader import LeRobotReader  # noqa: PLC0415  # help stays fast
    from mola_core.viewing.datasets import show_dataset_episode, stage_of_dataset  # noqa: PLC0415

    dataset = LeRobotReader(path)
    dataset.episode(arguments.episode)  # refused before a viewer opens
    with _recording(arguments.save) as recording:
        show_dataset_episode(dataset, arguments.episode, stage_of_dataset(dataset, arguments.episode, recording))


def _live(arguments: argparse.Namespace) -> None:
    from mola_core.contracts.site import load_site  # noqa: PLC0415  # help stays fast
    from mola_nodes.viewing.live import show_live  # noqa: PLC0415

    site = load_site(arguments.site)
    with _recording(arguments.save) as recording, contextlib.suppress(KeyboardInterrupt):
        show_live(recording, site=site, seconds=arguments.seconds)


@contextlib.contextmanager
def _recording(save: Path | None) -> "Iterator[rerun.RecordingStream]":
    """Into a file, or into a viewer that is opened; whole when it is left.

    Raises:
        ConfigError: the file exists, or there is no display to open a viewer on.
    """
    import rerun  # noqa: PLC0415  # takes a while

    if save is None and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError("there is no display to open the viewer on; give --save FILE.rrd and open that elsewhere")
    if save is not None and save.exists():
        raise ConfigError(f"{save} exists already; choose another file, or delete it")
    recording = rerun.RecordingStream(_APPLICATION)
    if save is None:
        rerun.spawn(recording=recording)
    else:
        save.parent.mkdir(parents=True, exist_ok=True)
        recording.save(save)
    try:
        yield recording
    finally:
        recording.flush()
        recording.disconnect()  # a file gets its index
