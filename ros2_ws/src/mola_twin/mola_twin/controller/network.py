"""Listening sockets and their connections, polled once a tick."""

import errno
import logging
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from mola_core.contracts.errors import DeviceError
from mola_twin.controller.connection import Connection, LinkCondition, Session

log = logging.getLogger(__name__)

MakeSession = Callable[[Connection], Session]


@dataclass(slots=True)
class Port:
    """One service: where it listens and what it speaks."""

    number: int
    name: str
    make_session: MakeSession
    link: LinkCondition
    """The robot's ports share one; the fault channel has a healthy one of its own."""
    listener: socket.socket | None = None
    sessions: list[tuple[Connection, Session]] = field(default_factory=list)


class Network:
    """All ports of one host. Nothing here blocks."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.ports: list[Port] = []
        self._poller = select.epoll()
        self._sources: dict[int, Port | Connection] = {}

    def open(self, port: Port) -> None:
        """Begin to listen.

        Raises:
            DeviceError: the port is taken, or the host is not an address of this machine.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, port.number))
            listener.listen(16)
        except (OSError, OverflowError) as error:
            listener.close()
            raise DeviceError(_why_not_bound(error, host=self.host, port=port)) from error
        listener.setblocking(False)
        port.listener = listener
        self._sources[listener.fileno()] = port
        self._poller.register(listener.fileno(), select.EPOLLIN)
        if port not in self.ports:
            self.ports.append(port)

    def close_listener(self, port: Port) -> None:
        """Refuse new clients; those connected stay."""
        if port.listener is not None:
            self._forget(port.listener)
            port.listener.close()
            port.listener = None

    def receive(self, now_s: float) -> None:
        """Accept, read and hand over everything that has arrived."""
        for descriptor, _ in self._poller.poll(0):
            source = self._sources[descriptor]
            if source.link.silent:
                continue
            if isinstance(source, Connection):
                source.now_s = now_s
                source.read()
            else:
                self._accept(source)
        for port in self.ports:
            for connection, session in port.sessions:
                connection.now_s = now_s
                data = connection.arrived()
                if data and connection.alive:
                    session.received(data)
            if any(not connection.alive for connection, _ in port.sessions):
                self._bury(port)

    def send(self) -> None:
        """Let every session answer, then push out what the link lets through."""
        for port in self.ports:
            for connection, session in port.sessions:
                session.tick()
                connection.flush()

    def drop(self, port: Port) -> None:
        """Close every connection of a port."""
        for connection, _ in port.sessions:
            connection.alive = False
        self._bury(port)

    def close(self) -> None:
        """Close everything."""
        for port in self.ports:
            self.drop(port)
            self.close_listener(port)
        self._poller.close()

    def _accept(self, port: Port) -> None:
        if port.listener is None:
            return
        try:
            sock, _ = port.listener.accept()
        except OSError:
            return
        connection = Connection(sock, link=port.link)
        self._sources[sock.fileno()] = connection
        self._poller.register(sock.fileno(), select.EPOLLIN)
        port.sessions.append((connection, port.make_session(connection)))
        log.info("%s: client connected (%d)", port.name, len(port.sessions))

    def _bury(self, port: Port) -> None:
        for connection, session in port.sessions:
            if not connection.alive:
                session.closed()
                self._forget(connection.socket)
                connection.close()
                log.info("%s: client gone", port.name)
        port.sessions = [(connection, session) for connection, session in port.sessions if connection.alive]

    def _forget(self, sock: socket.socket) -> None:
        self._sources.pop(sock.fileno(), None)
        self._poller.unregister(sock.fileno())


def _why_not_bound(error: Exception, *, host: str, port: Port) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{host}:{port.number} ({port.name}) is taken: another twin runs on {host}; stop it or choose another --host"
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine; on Linux every 127.x.y.z is"
    return f"cannot listen on {host}:{port.number} ({port.name}): {error}"
