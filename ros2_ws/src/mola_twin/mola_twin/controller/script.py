"""What arrives on the script port: ur_rtde's control program, recognised as such, or a few plain statements.

The twin interprets no URScript. The control program is served by :class:`mola_twin.controller.program.ControlProgram`; of
anything else, only the statements of :data:`PATTERNS` are understood, which covers the client's paths and simple custom
scripts. The rest is refused by name.
"""

import re
from dataclasses import dataclass

_CONTROL_MARK = "# RTDE Control script - Main loop #"
_OFFSET = re.compile(r"reg_offset_int\s*=\s*#\s*int register offset\s*\n\s*(\d+)")
_PATH = re.compile(r"def exec_move_path\(\):\n(?P<body>.*?)^\s*end\s*$", re.DOTALL | re.MULTILINE)
_DEFINITION = re.compile(r"^\s*def\s+(\w+)\s*\(\s*\)\s*:\s*\n(?P<body>.*?)^end\s*$", re.DOTALL | re.MULTILINE)

_NUMBER = r"[-+0-9.eE]+"
_LIST = r"(?P<pose>p?)\[(?P<values>[^\]]*)\]"
PATTERNS = {
    "move": re.compile(
        rf"(?P<kind>movej|movel|movep)\(\s*{_LIST}\s*,\s*a=(?P<a>{_NUMBER})\s*,\s*v=(?P<v>{_NUMBER})"
        rf"(?:\s*,\s*r=(?P<r>{_NUMBER}))?\s*\)"
    ),
    "progress": re.compile(rf"signal_async_progress\((?P<value>{_NUMBER})\)"),
    "stop": re.compile(rf"(?P<kind>stopj|stopl)\((?P<a>{_NUMBER})\)"),
    "sleep": re.compile(rf"sleep\((?P<value>{_NUMBER})\)"),
    "sync": re.compile(r"sync\(\)"),
    "log": re.compile(r"textmsg\((?P<text>.*)\)"),
    "integer": re.compile(
        r"write_output_integer_register\(\s*(?P<a>\d+)\s*(?:\+\s*(?P<b>\d+)\s*)?,\s*(?P<value>-?\d+)\s*\)"
    ),
    "output": re.compile(r"set_standard_digital_out\(\s*(?P<a>\d)\s*,\s*(?P<value>True|False)\s*\)"),
}


class UnsupportedScriptError(Exception):
    """A statement outside the few that the twin understands."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of a script that the twin can run: a key of :data:`PATTERNS` and what the pattern found."""

    kind: str
    fields: dict[str, str | None]

    @property
    def vector(self) -> list[float]:
        """The bracketed list of a move."""
        return [float(value) for value in (self.fields["values"] or "").split(",")]

    def number(self, name: str) -> float:
        """A numeric field; 0 where it was left out."""
        return float(self.fields[name] or 0.0)


@dataclass(frozen=True, slots=True)
class ControlScript:
    """ur_rtde's control program as uploaded."""

    register_offset: int
    path: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class PlainScript:
    """A script of plain statements."""

    name: str
    statements: tuple[Statement, ...]


def cut_script(buffer: str) -> tuple[str, str]:
    """The first complete script at the head of ``buffer`` (empty while incomplete) and the rest.

    A definition is complete with the ``end`` at the start of a line; anything else is a line by itself.
    """
    head = buffer.lstrip()
    if not re.match(r"def\s|sec\s", head):
        line, newline, rest = head.partition("\n")
        return (line, rest) if newline else ("", buffer)
    ending = re.search(r"^end[ \t]*(\n|$)", head, re.MULTILINE)
    return (head[: ending.end()], head[ending.end() :]) if ending else ("", buffer)


def parse_script(text: str) -> ControlScript | PlainScript:
    """Recognise a complete script; raises :class:`UnsupportedScriptError` naming the first line not understood."""
    if _CONTROL_MARK in text:
        offset = _OFFSET.search(text)
        path = _PATH.search(text)
        if offset is None or path is None:
            raise UnsupportedScriptError("a control script without register offset or exec_move_path")
        return ControlScript(register_offset=int(offset[1]), path=_statements(path["body"]))
    definition = _DEFINITION.match(text)
    if definition is not None:
        return PlainScript(name=definition[1], statements=_statements(definition["body"]))
    return PlainScript(name="(line)", statements=_statements(text))


def _statements(body: str) -> tuple[Statement, ...]:
    statements = []
    for raw in body.splitlines():
        line = raw.strip()
        if line and not line.startswith("#"):
            statements.append(_statement(line))
    return tuple(statements)


def _statement(line: str) -> Statement:
    for kind, pattern in PATTERNS.items():
        match = pattern.fullmatch(line)
        if match is not None:
            return Statement(kind=kind, fields=match.groupdict())
    raise UnsupportedScriptError(f"the twin does not interpret URScript: {line[:80]!r}")
