"""XML with line numbers: what the standard element tree forgets and an error message needs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from mola_core.contracts.errors import ConfigError
from mola_core.launching.errors import LaunchFileError, Location


@dataclass(slots=True)
class Element:
    """One element: its attributes, its children in order, and the line where it begins."""

    tag: str
    attributes: dict[str, str]
    where: Location
    children: list["Element"] = field(default_factory=list)


def parse_xml(path: Path) -> Element:
    """The root element of the file at ``path``.

    Raises:
        ConfigError: the file cannot be read.
        LaunchFileError: it is not well-formed XML, declares a document type, or holds text between its elements.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"launch file {path} cannot be read: {error.strerror}") from error
    return _TreeBuilder(path).build(content)


class _TreeBuilder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._document = Element(tag="", attributes={}, where=Location(path, 1))
        self._open = [self._document]
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def build(self, content: bytes) -> Element:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            where = Location(self._path, error.lineno)
            raise LaunchFileError(where, f"not well-formed XML: {expat.ErrorString(error.code)}") from error
        return self._document.children[0]  # expat refuses a document without a root or with two

    def _here(self) -> Location:
        return Location(self._path, self._parser.CurrentLineNumber)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag=tag, attributes=attributes, where=self._here())
        self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, tag: str) -> None:  # noqa: ARG002  # expat's signature
        self._open.pop()

    def _text(self, text: str) -> None:
        if text.strip():
            raise LaunchFileError(self._here(), f"text {text.strip()!r:.60} stands outside of any attribute")

    def _doctype(self, *_: object) -> NoReturn:
        raise LaunchFileError(self._here(), "a document type is not supported; remove <!DOCTYPE …>")
