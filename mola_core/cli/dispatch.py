"""From ``mola twin serve`` to the function that serves it."""

import argparse
import difflib
import os
import select
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, cast

from mola_core.cli.contents import Parser, Subcommands, table_of_contents
from mola_core.contracts.errors import ConfigError, MolaError

GROUP = "mola.commands"
DESCRIPTION = "MoLA (Mixture of Latent Actions) for real robots."

_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. Errors that a user can act on become one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments, _entries())
        sys.stdout.flush()
    except MolaError as error:
        print(f"mola: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        if not _reader_left():
            raise
        _discard_stdout()
        return _EXIT_BROKEN_PIPE
    return status


def _entries() -> list[EntryPoint]:
    """All registered commands; the same entry found through two metadata directories counts once."""
    return sorted({(entry.name, entry.value): entry for entry in entry_points(group=GROUP)}.values())


def _dispatch(arguments: list[str], entries: Sequence[EntryPoint]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_contents(entries), end="")
        return 0
    if arguments[0] == "--version":
        print(f"mola {version('mola-core')}")
        return 0
    wanted = [entry for entry in entries if _first_word(entry) == arguments[0]]
    if not wanted:
        raise ConfigError(_unknown_command(arguments[0], known={_first_word(entry) for entry in entries}))
    parser, _ = _parser(wanted)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as exit_:  # argparse has printed help or an error
        return exit_.code if isinstance(exit_.code, int) else 2
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def _parser(entries: Iterable[EntryPoint]) -> tuple[Parser, Subcommands]:
    """A parser that knows ``entries`` only, so that one command never pays for another's imports."""
    parser = Parser(prog="mola", description=DESCRIPTION, add_help=False)
    top = cast(Subcommands, parser.add_subparsers(action=Subcommands, required=True, metavar="COMMAND"))
    shared: dict[str, Subcommands] = {}
    for entry in entries:
        first, _, second = entry.name.partition(".")
        if second and first not in shared:
            shared[first] = _shared(top, first, entries)
        _register(entry, shared[first] if second else top)
    return parser, top


def _shared(top: Subcommands, name: str, entries: Iterable[EntryPoint]) -> Subcommands:
    """The parser of a first word that several entry points share."""
    members = sorted(entry.name.partition(".")[2] for entry in entries if _first_word(entry) == name)
    parser: Parser = top.add_parser(name, help=", ".join(members))
    return cast(Subcommands, parser.add_subparsers(action=Subcommands, required=True, metavar="|".join(members)))


def _register(entry: EntryPoint, subparsers: Subcommands) -> None:
    try:
        register: Callable[[Any], None] = entry.load()
    except (ImportError, AttributeError) as error:
        raise MolaError(
            f"command {entry.name} cannot be loaded from {entry.value}: {error}; run: make setup"
        ) from error
    register(subparsers)


def _contents(entries: Sequence[EntryPoint]) -> str:
    lines: dict[str, str] = {}
    for word in dict.fromkeys(map(_first_word, entries)):
        try:
            _, top = _parser([entry for entry in entries if _first_word(entry) == word])
        except MolaError as error:
            lines[word] = f"(unusable: {error})"
        else:
            lines.update(top.lines)
    return table_of_contents(description=DESCRIPTION, lines=lines)


def _first_word(entry: EntryPoint) -> str:
    return entry.name.partition(".")[0]


def _unknown_command(word: str, *, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "mola --help lists them"
    return f"there is no command {word!r}; {hint}"


def _reader_left() -> bool:
    """Whether it was stdout that broke (``mola … | head``) rather than a socket of the command's own."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _discard_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of raising again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
