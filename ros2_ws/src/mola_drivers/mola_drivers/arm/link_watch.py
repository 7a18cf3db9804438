"""The kernel's view of the library's control socket.

When the controller hangs up, the library notices within some milliseconds and reconnects in a thread of its own; a
command sent meanwhile from ours writes to a socket that is being replaced, which has been seen to end in SIGSEGV or in
the command being sent again, stale. The kernel knows at once that the other side has hung up, so it is asked before
every command.
"""

import os
import socket
import stat
from pathlib import Path

from mola_core.contracts.errors import ArmError

_ESTABLISHED = 1  # tcp_states.h


def sockets_to(*, port: int) -> set[int]:
    """Descriptors of this process's TCP connections to ``port`` (Linux)."""
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir() if _peer_port(int(entry.name)) == port}


def _peer_port(descriptor: int) -> int | None:
    """The port at the other end of a connected IPv4 TCP socket; None for whatever else ``descriptor`` is."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family != socket.AF_INET or connection.type != socket.SOCK_STREAM:
                return None
            port: int = connection.getpeername()[1]
            return port
    except OSError:
        return None  # closed since it was listed, or not connected


class LinkWatch:
    """Watches one connection through a duplicate of its descriptor, which stays valid whatever the library does."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))

    @classmethod
    def on_new_socket(cls, *, port: int, before: set[int]) -> "LinkWatch":
        """Watch the one connection to ``port`` that is not in ``before``.

        Raises:
            ArmError: there is not exactly one.
        """
        new = sockets_to(port=port) - before
        if len(new) != 1:
            raise ArmError(f"expected one new connection to port {port}, found {len(new)}; connect from one thread")
        return cls(new.pop())

    def is_established(self) -> bool:
        """Neither side has hung up. About a microsecond. Says nothing about a link that is merely silent."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED

    def close(self) -> None:
        """Let go; only then can the library close the connection."""
        self._socket.close()
