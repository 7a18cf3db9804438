"""Talks to the twin's world: resets it, asks what is true and whether the task is done. For experts, tests and the demo."""

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from mola_core.contracts.errors import ConfigError, DeviceError
from mola_twin.tasks.success import Success
from mola_twin.tasks.truth import Truth

PORT = 30151
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class WorldStart:
    """How an episode began."""

    task: str
    seed: int
    variant: str
    instruction: str
    stack_top: str
    """Object name of the block that the stacking task picks up."""
    stack_bottom: str


class WorldClient:
    """A connection to the world server, made at the first request. Not thread-safe.

    Raises:
        DeviceError: no twin answers.
        ConfigError: the twin refuses; its reason names what it knows, or what is in the way.
    """

    def __init__(self, host: str, port: int = PORT) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Phrasings (``train``, ``held_out``) and time limit of every task."""
        tasks: dict[str, dict[str, Any]] = self._request({"op": "tasks"})["tasks"]
        return tasks

    def variants(self) -> list[str]:
        """Names of the variants, ``id`` first."""
        variants: list[str] = self._request({"op": "variants"})["variants"]
        return variants

    def reset(self, *, task: str, seed: int, variant: str = "id") -> WorldStart:
        """Put the objects for an episode; the arm stays where it is."""
        return WorldStart(**self._request({"op": "reset", "task": task, "seed": seed, "variant": variant}))

    def truth(self) -> Truth:
        """What the simulator knows now."""
        return Truth.from_json(self._request({"op": "truth"})["truth"])

    def success(self) -> Success:
        """The newest verdict on the running task."""
        return Success(**self._request({"op": "success"})["success"])

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=_TIMEOUT_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(self._read_line(self._socket))
        except OSError as error:
            self.close()
            host, port = self._address
            raise DeviceError(
                f"no twin answers on {host}:{port} ({error}); start one: mola twin serve --host {host}"
            ) from error
        if not answer.pop("ok"):
            raise ConfigError(f"the twin refuses: {answer['error']}")
        return answer

    def _read_line(self, connection: socket.socket) -> bytes:
        while b"\n" not in self._buffer:
            data = connection.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the twin closed the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
