"""The parser behind ``mola``: its help reads like a table of contents, its errors are one line."""

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

SECTIONS: dict[str, tuple[str, ...]] = {
    "run": ("demo", "launch", "twin", "run", "engine"),
    "record and look": ("teleop", "record", "episode", "dataset", "view"),
    "learn": ("data", "train", "model", "eval", "export", "bundle"),
    "measure": ("bench", "faults"),
    "look after": ("doctor",),
}
"""The order of the table of contents. A command that is not named here stands under ``more``."""

_MORE = "more"


class Subcommands(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001  # argparse's documented extension point has no public name
    """Sub-parsers that remember their one-line help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lines: dict[str, str] = {}

    def add_parser(self, name: str, **kwargs: Any) -> Any:
        parser = super().add_parser(name, **kwargs)
        self.lines[name] = kwargs.get("help") or ""
        return parser


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that names the place to read more."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mola: error: {message} (see: {self.prog} --help)\n")


def table_of_contents(*, description: str, lines: dict[str, str]) -> str:
    """The help of ``mola``: every command once, under its section."""
    width = max(map(len, lines), default=0)
    parts = ["usage: mola COMMAND [options]", "", description]
    for title, names in _sections(lines):
        parts += ["", f"{title}:"]
        parts += [f"  {name:<{width}}  {lines[name]}".rstrip() for name in names]
    parts += ["", "mola COMMAND --help says more about one of them.", ""]
    return "\n".join(parts)


def _sections(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    left = set(names)
    sections = []
    for title, order in SECTIONS.items():
        sections.append((title, [name for name in order if name in left]))
        left -= set(order)
    sections.append((_MORE, sorted(left)))
    return [(title, members) for title, members in sections if members]
