"""Serves the twin's cameras over TCP; the protocol is that of :class:`mola_drivers.camera.twin_camera.TwinCamera`.

A client sends one JSON line (camera, width, height, fps, depth). The answer is one JSON line, what the camera is or an
error; then for every frame a 4-byte big-endian length, a JSON header of that length, RGB bytes, and depth counts
(little-endian uint16, aligned to the colour) where asked for. A slow reader gets the newest frame, never a backlog.
"""

import json
import logging
import socket
import socketserver
import struct
from dataclasses import asdict

from mola_core.contracts.errors import MolaError
from mola_twin.cell import optics
from mola_twin.cell.camera_streams import RenderedFrame, Stream, StreamRegistry, StreamRequest
from mola_twin.cell.line_server import LineReader, LineServer

log = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 5.0
_LOOK_S = 0.5
_READY_S = 8.0
"""A client waits ten seconds for its answer; after it, frames are expected at once."""
_IDENTITY = [[float(row == column) for column in range(4)] for row in range(4)]


class CameraServer(LineServer):
    """One thread a client; frames come from the registry's streams."""

    def __init__(self, address: tuple[str, int], streams: StreamRegistry) -> None:
        self.streams = streams
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: CameraServer

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_SEND_TIMEOUT_S)
        try:
            line = LineReader(connection).next()
            if line is None:
                return
            request = StreamRequest.parse(json.loads(line))
        except (MolaError, ValueError, TypeError) as error:
            connection.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
            return
        except OSError:
            return
        stream = self.server.streams.open(request)
        try:
            stream.ready.wait(_READY_S)
            connection.sendall(json.dumps(_description(request)).encode() + b"\n")
            self._send_frames(connection, stream)
        except OSError as error:
            log.info("camera %s: client left (%s)", request.camera, error)
        finally:
            self.server.streams.close(stream)

    def _send_frames(self, connection: socket.socket, stream: Stream) -> None:
        while not self.server.stopping.is_set():
            frame = stream.take(_LOOK_S)
            if frame is not None:
                connection.sendall(_header(frame))
                connection.sendall(frame.color.data)
                if frame.depth_counts is not None:
                    connection.sendall(frame.depth_counts.data)
            elif _has_hung_up(connection):
                return


def _has_hung_up(connection: socket.socket) -> bool:
    """While there is nothing to send, only asking tells."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def _description(request: StreamRequest) -> dict[str, object]:
    view = asdict(optics.intrinsics(model=request.model, width=request.width, height=request.height))
    return {
        "model": request.model,
        "serial": f"TWIN-{request.model}",
        "color": view,
        "depth": view if request.depth else None,
        "color_from_depth": _IDENTITY,
        "depth_unit_m": optics.MODELS[request.model].depth_unit_m,
    }


def _header(frame: RenderedFrame) -> bytes:
    content = json.dumps(
        {
            "stamp_ns": frame.stamp_ns,
            "sequence": frame.sequence,
            "color_bytes": frame.color.nbytes,
            "depth_bytes": 0 if frame.depth_counts is None else frame.depth_counts.nbytes,
        }
    ).encode()
    return struct.pack(">I", len(content)) + content
