"""Single keys of a terminal, without waiting for enter and without an echo."""

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Self

from mola_core.contracts.errors import ConfigError


class Keyboard:
    """Takes the terminal's keys while entered."""

    def __enter__(self) -> Self:
        """Switch the terminal.

        Raises:
            ConfigError: standard input is none.
        """
        if not sys.stdin.isatty():
            raise ConfigError(
                "mola record needs a terminal for its keys; without one, call the service /mola/episode_control or send words "
                "to the topic /mola/episode_key"
            )
        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def key(self, *, timeout_s: float) -> str:
        """The next key, in lower case; empty when none comes in time, and at the end of input ``q``."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            return ""
        data = os.read(self._descriptor, 32)
        return data.decode(errors="ignore")[:1].lower() if data else "q"

    def ask(self, question: str) -> str:
        """A line, typed as usual; empty leaves things as they are."""
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        try:
            sys.stdout.write(question)
            sys.stdout.flush()
            return sys.stdin.readline().strip()
        finally:
            tty.setcbreak(self._descriptor)
