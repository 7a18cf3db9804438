"""One client's socket, non-blocking in both directions, and the network conditions that it suffers."""

import socket
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

_MAX_BACKLOG = 1 << 20
_READ_SIZE = 1 << 16


@dataclass(slots=True)
class LinkCondition:
    """What is wrong with the network between the robot and its clients."""

    silent: bool = False
    """Sockets stay open; nothing is read and nothing is sent."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    chance: Random = field(default_factory=lambda: Random(0))  # noqa: S311

    @property
    def slow(self) -> bool:
        """True while bytes are held back."""
        return self.delay_s > 0.0 or self.jitter_s > 0.0

    def due_s(self, now_s: float) -> float:
        """When bytes sent now arrive."""
        return now_s + self.delay_s + self.jitter_s * self.chance.random()


class Session(Protocol):
    """What is spoken on one connection."""

    def received(self, data: bytes) -> None:
        """Bytes from the client, in order, cut anywhere."""
        ...

    def tick(self) -> None:
        """Called once a tick, after the robot has moved."""
        ...

    def closed(self) -> None:
        """The connection is gone; give back what it held."""
        ...


class Connection:
    """A connected socket with an outgoing queue. ``now_s`` is the loop's monotonic time, set once a tick."""

    def __init__(self, sock: socket.socket, *, link: LinkCondition) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.link = link
        self.now_s = 0.0
        self.alive = True
        self.wants_close = False
        """Close once everything has been sent."""
        self._inbox: deque[tuple[float, bytes]] = deque()
        self._outbox: deque[tuple[float, bytes]] = deque()
        self._unsent = b""

    @property
    def congested(self) -> bool:
        """True while the client does not take what was sent before."""
        return bool(self._unsent)

    def read(self) -> None:
        """Take what has arrived from the kernel; call when the socket is readable."""
        try:
            data = self.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.alive = False
        else:
            self._inbox.append((self.link.due_s(self.now_s) if self.link.slow else 0.0, data))

    def arrived(self) -> bytes:
        """What the network has delivered by now."""
        if not self._inbox or self.link.silent:
            return b""
        parts = []
        while self._inbox and self._inbox[0][0] <= self.now_s:
            parts.append(self._inbox.popleft()[1])
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """Queue bytes for the client; they leave when the link lets them. A client that never reads is dropped."""
        if self.link.silent:
            return
        if self.link.slow or self._outbox:
            earliest_s = self._outbox[-1][0] if self._outbox else 0.0
            self._outbox.append((max(earliest_s, self.link.due_s(self.now_s)), data))
        else:
            self._write(data)

    def flush(self) -> None:
        """Send what is due; called once a tick."""
        if self.link.silent:
            return
        while self._outbox and self._outbox[0][0] <= self.now_s:
            self._write(self._outbox.popleft()[1])
        if self._unsent:
            self._write(b"")
        if self.wants_close and not self._unsent and not self._outbox:
            self.alive = False

    def hung_up(self) -> bool:
        """Look, without reading, whether the client has closed its end."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket."""
        self.alive = False
        self.socket.close()

    def _write(self, data: bytes) -> None:
        pending = self._unsent + data if self._unsent else data
        try:
            sent = self.socket.send(pending)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.alive = False
            return
        self._unsent = pending[sent:]
        if len(self._unsent) > _MAX_BACKLOG:
            self.alive = False
