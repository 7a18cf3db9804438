r"""``$(name argument …)`` inside attributes: the grammar of ROS 2's launch frontend, read into a template.

Outside of a substitution every character but ``$(`` stands for itself and ``\`` escapes the next one. Inside, arguments are
separated by one space; an argument with spaces or parentheses is quoted as a whole, ``$(eval "'$(var policy)' == 'none'")``.
"""

import string
from dataclasses import dataclass

_NAME_START = frozenset(string.ascii_letters)
_NAME = frozenset(string.ascii_letters + string.digits + "_-")


class TemplateSyntaxError(ValueError):
    """The text is not of the grammar."""


@dataclass(frozen=True, slots=True)
class Substitution:
    """One ``$(name argument …)``."""

    name: str
    arguments: tuple["Template", ...]


Template = tuple[str | Substitution, ...]


def parse_template(text: str) -> Template:
    """Literal text and substitutions of ``text``, in order; no two literals are neighbours.

    Raises:
        TemplateSyntaxError: with the column.
    """
    return _Scanner(text).template(closing=None)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def template(self, *, closing: str | None) -> Template:
        """Everything up to the quote ``closing`` (not consumed) or, without one, to the end."""
        parts = _Parts()
        while not self._ended() and self._peek() != closing:
            if self._text.startswith("$(", self._position):
                parts.add(self._substitution(quote=closing))
            else:
                parts.add(self._character())
        return parts.finish()

    def _substitution(self, *, quote: str | None) -> Substitution:
        """``quote`` is the quotation that surrounds it: inside of one, arguments cannot be quoted again."""
        self._position += 2
        name = self._name()
        arguments = []
        while not self._ended() and self._peek() == " ":
            self._position += 1
            arguments.append(self._argument(quote=quote))
        self._expect(")", after=f"$({name}")
        return Substitution(name=name, arguments=tuple(arguments))

    def _name(self) -> str:
        start = self._position
        while not self._ended() and self._peek() in (_NAME if self._position > start else _NAME_START):
            self._position += 1
        if start == self._position:
            raise self._error("a substitution's name must follow '$('")
        return self._text[start : self._position]

    def _argument(self, *, quote: str | None) -> Template:
        if quote is None and not self._ended() and self._peek() in "'\"":
            closing = self._peek()
            self._position += 1
            template = self.template(closing=closing)
            self._expect(closing, after="a quoted argument")
            return template
        return self._bare_argument(quote=quote)

    def _bare_argument(self, *, quote: str | None) -> Template:
        parts = _Parts()
        forbidden = "(" + (quote or "'\"")
        while not self._ended() and self._peek() not in " )":
            if self._text.startswith("$(", self._position):
                parts.add(self._substitution(quote=quote))
            elif self._peek() in forbidden:
                raise self._error(f"{self._peek()!r} inside an argument; quote the whole argument or escape it with \\")
            else:
                parts.add(self._character())
        template = parts.finish()
        if not template:
            raise self._error("an argument must follow; exactly one space separates arguments")
        return template

    def _character(self) -> str:
        if self._peek() == "\\" and self._position + 1 < len(self._text):
            self._position += 1
        self._position += 1
        return self._text[self._position - 1]

    def _expect(self, character: str, *, after: str) -> None:
        if self._ended() or self._peek() != character:
            raise self._error(f"{character!r} must follow {after}")
        self._position += 1

    def _peek(self) -> str:
        return self._text[self._position]

    def _ended(self) -> bool:
        return self._position >= len(self._text)

    def _error(self, problem: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(f"{problem} (column {self._position + 1} of {self._text!r})")


class _Parts:
    """Collects characters and substitutions, joining neighbouring characters."""

    def __init__(self) -> None:
        self._parts: list[str | Substitution] = []

    def add(self, part: str | Substitution) -> None:
        if isinstance(part, str) and self._parts and isinstance(self._parts[-1], str):
            self._parts[-1] += part
        else:
            self._parts.append(part)

    def finish(self) -> Template:
        return tuple(self._parts)
