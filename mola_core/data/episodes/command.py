"""``mola episode list | review | drop | recover``: looking after what was recorded."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from mola_core.data.episodes.store import EpisodeStore

DEFAULT_STORE = Path("runs") / "episodes"

# what the commands need is imported where they run: `mola --help` must stay fast


def register_list(subparsers: Any) -> None:
    """Add ``episode list``."""
    parser = _parser(subparsers, "list", "what was recorded, what is unfinished, what is in the trash")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.set_defaults(run=run_list)


def register_review(subparsers: Any) -> None:
    """Add ``episode review``."""
    parser = _parser(
        subparsers, "review", "one episode stream by stream: counts, rates, gaps, losses; every checksum is read"
    )
    parser.add_argument(
        "episode", nargs="*", default=["last"], help="ids, beginnings or ends of ids, or last (default)"
    )
    parser.add_argument("--outcome", choices=("success", "failure", "unknown"), help="write how it went")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
    parser.set_defaults(run=run_review)


def register_drop(subparsers: Any) -> None:
    """Add ``episode drop``."""
    parser = _parser(subparsers, "drop", "put episodes into the trash, take them out again, or empty it")
    parser.add_argument("episode", nargs="*", help="ids, beginnings or ends of ids, or last")
    parser.add_argument("--restore", action="store_true", help="take these out of the trash instead")
    parser.add_argument("--purge", action="store_true", help="delete what is in the trash, for good; asks unless --yes")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run_drop)


def register_recover(subparsers: Any) -> None:
    """Add ``episode recover``."""
    parser = _parser(subparsers, "recover", "make episodes of what a killed recorder left behind, repair damaged ones")
    parser.add_argument(
        "episode", nargs="*", help="ids of damaged episodes or of unfinished ones (default: all unfinished)"
    )
    parser.set_defaults(run=run_recover)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the store."""
    from mola_core.data.episodes import tables  # noqa: PLC0415
    from mola_core.data.episodes.store import EpisodeStore  # noqa: PLC0415

    contents = EpisodeStore(arguments.store).contents()
    if arguments.json:
        from mola_core.cli.report import print_json  # noqa: PLC0415

        print_json(tables.listing(contents, store=arguments.store))
        return 0
    if contents.episodes:
        _show(tables.list_table(contents))
    else:
        _say(f"{arguments.store} has no episodes")
    for name, problem in contents.damaged.items():
        _say(f"damaged: {name}: {problem}")
    for folder in contents.unfinished:
        _say(f"unfinished: {folder.name}; if no recorder is running: mola episode recover")
    if contents.trash:
        _say(
            f"trash: {len(contents.trash)} of {tables.megabytes(contents.trash_bytes)} MB; mola episode drop --purge empties it"
        )
    return 0


def run_review(arguments: argparse.Namespace) -> int:
    """Read episodes whole and print what is in them."""
    from mola_core.data.episodes import tables  # noqa: PLC0415
    from mola_core.data.episodes.meta import Outcome  # noqa: PLC0415
    from mola_core.data.episodes.store import EpisodeStore  # noqa: PLC0415
    from mola_core.data.episodes.summary import summarise  # noqa: PLC0415

    store = EpisodeStore(arguments.store)
    folders = [_folder(store, wanted) for wanted in arguments.episode]
    if arguments.outcome:
        for folder in folders:
            store.set_outcome(folder.name, Outcome(arguments.outcome))
    summaries = [summarise(folder) for folder in folders]
    if arguments.json:
        from mola_core.cli.report import print_json  # noqa: PLC0415

        print_json({"episodes": [tables.as_json(summary) for summary in summaries]})
        return 0
    for summary in summaries:
        _say(tables.headline(summary))
        _show(tables.review_table(summary))
    return 0


def run_drop(arguments: argparse.Namespace) -> int:
    """Move episodes into the trash or out of it, or empty it."""
    from mola_core.data.episodes.store import EpisodeStore  # noqa: PLC0415

    store = EpisodeStore(arguments.store)
    if not arguments.episode and not arguments.purge:
        raise ConfigError("say which episodes to drop, or --purge to empty the trash")
    if arguments.restore:
        for wanted in arguments.episode:
            _say(f"restored: {store.restore(wanted)}")
    else:
        for folder in [store.find(wanted) for wanted in arguments.episode]:
            _say(f"dropped: {folder.name}; mola episode drop --restore {folder.name} takes it back")
            store.drop(folder)
    if arguments.purge:
        _purge(store, yes=arguments.yes)
    return 0


def run_recover(arguments: argparse.Namespace) -> int:
    """Recover everything that was left unfinished, or what is named; 1 where something was not to be recovered."""
    from mola_core.data.episodes.meta import EpisodeError  # noqa: PLC0415
    from mola_core.data.episodes.recovery import recover, unfinished  # noqa: PLC0415
    from mola_core.data.episodes.store import EpisodeStore  # noqa: PLC0415

    store = EpisodeStore(arguments.store)
    left = unfinished(arguments.store)
    folders = [_named(store, left, wanted) for wanted in arguments.episode] if arguments.episode else left
    if not folders:
        _say(f"{arguments.store} has nothing unfinished")
    failures = 0
    for folder in folders:
        try:
            result = recover(arguments.store, folder)
        except EpisodeError as error:
            failures += 1
            _say(f"not recovered: {error}")
            continue
        _say(
            f"recovered: {result.path}: {result.messages} messages; missing at its end: {result.lost_bytes} bytes of the "
            f"chunk that was open"
            + (f"; damaged within: {result.skipped_bytes} bytes" if result.skipped_bytes else "")
            + (f"; the original is kept as {result.original}" if result.original else "")
        )
    return 1 if failures else 0


def _parser(subparsers: Any, name: str, help_line: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=help_line, description=help_line)
    parser.add_argument(
        "--store", type=Path, default=DEFAULT_STORE, help="folder of the episodes (default: %(default)s)"
    )
    return parser


def _folder(store: "EpisodeStore", wanted: str) -> Path:
    """A path to an episode means that one, anything else an id in the store."""
    path = Path(wanted)
    return path if path.is_dir() and path.name != wanted else store.find(wanted)


def _named(store: "EpisodeStore", left: Iterable[Path], wanted: str) -> Path:
    from mola_core.data.episodes import layout  # noqa: PLC0415

    for folder in left:
        if wanted in {folder.name, layout.partial_id(folder)}:
            return folder
    return store.find(wanted)


def _purge(store: "EpisodeStore", *, yes: bool) -> None:
    from mola_core.data.episodes import tables  # noqa: PLC0415

    contents = store.contents()
    if not contents.trash:
        _say("the trash is empty")
        return
    what = f"{len(contents.trash)} dropped episodes, {tables.megabytes(contents.trash_bytes)} MB"
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"purging deletes {what} for good; say --yes where nobody can be asked")
        sys.stdout.write(f"delete {what} for good? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            _say("nothing was deleted")
            return
    _say(f"{tables.megabytes(store.purge())} MB freed")


def _show(table: "Table") -> None:
    from rich.console import Console  # noqa: PLC0415

    Console(highlight=False).print(table)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
