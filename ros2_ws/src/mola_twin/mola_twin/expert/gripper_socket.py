"""The few words of the Robotiq's URCap socket that a trial needs."""

import socket

from mola_core.contracts.errors import GripperError

_PORT = 63352


class GripperSocket:
    """Connects at the first word. Not thread-safe.

    Raises:
        GripperError: the gripper does not answer, or not in its language.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._stream: socket.socket | None = None
        self._asked: int | None = None

    def move(self, opening: float) -> None:
        """Go to ``opening`` unless asked before."""
        position = round((1.0 - opening) * 255)
        if position != self._asked:
            self._ask(f"SET ACT 1 GTO 1 SPE 255 FOR 77 POS {position}")
            self._asked = position

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        if self._stream is not None:
            self._stream.close()

    def _ask(self, words: str) -> str:
        try:
            if self._stream is None:
                self._stream = socket.create_connection((self._host, _PORT), timeout=2.0)
            self._stream.sendall(words.encode() + b"\n")
            return self._stream.recv(256).decode().strip()
        except OSError as error:
            raise GripperError(f"the gripper at {self._host}:{_PORT} does not answer ({error})") from error
