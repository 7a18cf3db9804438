"""A TCP server with a thread a client, and lines of JSON: what the camera and the world server share."""

import errno
import socket
import socketserver
import threading

from mola_core.contracts.errors import DeviceError

MAX_LINE_BYTES = 1 << 16


class LineServer(socketserver.ThreadingTCPServer):
    """Listens on construction.

    Raises:
        DeviceError: the port is taken, or the host is not an address of this machine.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        self.stopping = threading.Event()
        try:
            super().__init__(address, handler)
        except OSError as error:
            host, port = address
            why = "is taken; is another twin running there?" if error.errno == errno.EADDRINUSE else f"({error})"
            raise DeviceError(f"{host}:{port} {why}") from error

    def start(self) -> None:
        """Serve from a thread."""
        threading.Thread(target=self.serve_forever, name=type(self).__name__, daemon=True).start()

    def stop(self) -> None:
        """Listen no more; clients' threads end with the process."""
        self.stopping.set()
        self.shutdown()
        self.server_close()


class LineReader:
    """Lines of a connection. Reads as much as there is at once: every call into the socket gives the interpreter away."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def next(self) -> bytes | None:
        """The next line, without its end; None once the client has left.

        Raises:
            ValueError: the line is too long to be one of ours.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise ValueError(f"a line of more than {MAX_LINE_BYTES} bytes is not a request")
            received = self._connection.recv(MAX_LINE_BYTES)
            if not received:
                return None
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
