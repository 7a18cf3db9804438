"""A camera of the twin: frames over TCP from the cell process.

The client sends one JSON line (which camera, resolution, rate, depth or not); the server answers one JSON line (what
the camera is, or an error), then for every frame a 4-byte big-endian length, a JSON header of that length, and the raw
pixels.
"""

import json
import select
import socket
import struct
from types import TracebackType
from typing import Any, Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import CameraError
from mola_core.contracts.site import TwinCameraSpec
from mola_core.contracts.types import CameraInfo, CameraIntrinsics, Frame, StampDomain
from mola_drivers.camera.depth import depth_in_mm

_CONNECT_S = 2.0
_ANSWER_S = 10.0
"""The cell may be building its renderer for this resolution."""
_MAX_HEADER_BYTES = 1 << 16


class TwinCamera:
    """Client of the cell's frame server, behind :class:`mola_drivers.camera.protocol.Camera`."""

    def __init__(self, *, name: str, spec: TwinCameraSpec, clock: Clock) -> None:
        self._name = name
        self._spec = spec
        self._clock = clock
        self._socket: socket.socket | None = None
        self._info: CameraInfo | None = None
        self._last_stamp_ns = 0

    def __enter__(self) -> Self:
        address = f"{self._spec.host}:{self._spec.port}"
        try:
            self._socket = socket.create_connection((self._spec.host, self._spec.port), timeout=_CONNECT_S)
        except OSError as error:
            raise CameraError(
                f"the twin's cameras at {address} do not answer ({error}); start it: mola twin serve"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(json.dumps(self._request()).encode() + b"\n")
            answer = self._read_line(self._clock.monotonic_ns() + round(_ANSWER_S * NS_PER_S))
            self._info = self._parse_info(answer)
        except OSError as error:
            self._close()
            raise CameraError(f"the twin at {address} hung up on camera {self._name!r} ({error})") from error
        except BaseException:
            self._close()
            raise
        self._last_stamp_ns = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def info(self) -> CameraInfo:
        if self._info is None:
            raise CameraError(f"camera {self._name!r} is not open")
        return self._info

    def read(self, *, timeout_ms: int) -> Frame:
        deadline_ns = self._clock.monotonic_ns() + timeout_ms * NS_PER_MS
        try:
            frame = self._read_frame(deadline_ns)
            # what waits already is newer; reading it may take as long again, but no longer
            deadline_ns += timeout_ms * NS_PER_MS
            while frame.stamp_ns <= self._last_stamp_ns or self._more_waits():
                frame = self._read_frame(deadline_ns)
        except (OSError, ValueError, KeyError) as error:
            # half a frame may have been read: what follows on this connection means nothing any more
            self._close()
            reason = f"nothing new for {timeout_ms} ms" if isinstance(error, TimeoutError) else str(error)
            raise CameraError(f"camera {self._name!r} of the twin is lost: {reason}") from error
        self._last_stamp_ns = frame.stamp_ns
        return frame

    def _request(self) -> dict[str, Any]:
        spec = self._spec
        return {"camera": self._name, "width": spec.width, "height": spec.height, "fps": spec.fps, "depth": spec.depth}

    def _parse_info(self, line: bytes) -> CameraInfo:
        try:
            answer = json.loads(line)
            if "error" in answer:
                raise CameraError(f"the twin refuses camera {self._name!r}: {answer['error']}")
            return CameraInfo(
                name=self._name,
                model=answer["model"],
                serial=answer["serial"],
                color=_intrinsics(answer["color"]),
                depth=_intrinsics(answer["depth"]) if answer["depth"] is not None else None,
                color_from_depth=np.array(answer["color_from_depth"], dtype=np.float64).reshape(4, 4),
                depth_unit_m=float(answer["depth_unit_m"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CameraError(
                f"{self._spec.host}:{self._spec.port} does not speak the twin's camera protocol ({error!r}); "
                "run twin and drivers of the same version"
            ) from error

    def _read_frame(self, deadline_ns: int) -> Frame:
        (header_bytes,) = struct.unpack(">I", self._read_bytes(4, deadline_ns))
        if header_bytes > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {header_bytes} bytes is not one")
        header = json.loads(self._read_bytes(header_bytes, deadline_ns))
        color, depth = self.info.color, self.info.depth
        color_bytes = 3 * color.width * color.height
        depth_bytes = 2 * color.width * color.height if depth is not None else 0
        if (header["color_bytes"], header["depth_bytes"]) != (color_bytes, depth_bytes):
            raise ValueError(f"expected {color_bytes}+{depth_bytes} bytes of colour and depth, announced are {header}")
        shape = (color.height, color.width)
        pixels = np.frombuffer(self._read_bytes(color_bytes, deadline_ns), np.uint8).reshape(*shape, 3)
        counts = np.frombuffer(self._read_bytes(depth_bytes, deadline_ns), "<u2")
        return Frame(
            stamp_ns=int(header["stamp_ns"]),
            stamp_domain=StampDomain.HOST_EPOCH,
            received_ns=self._clock.now_ns(),
            sequence=int(header["sequence"]),
            color=pixels,
            depth=depth_in_mm(counts.reshape(shape), depth_unit_m=self.info.depth_unit_m) if depth_bytes else None,
        )

    def _read_line(self, deadline_ns: int) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            # byte by byte: what follows the line belongs to the frames
            line += self._read_bytes(1, deadline_ns)
            if len(line) > _MAX_HEADER_BYTES:
                raise CameraError(f"{self._spec.host}:{self._spec.port} does not speak the twin's camera protocol")
        return bytes(line)

    def _read_bytes(self, count: int, deadline_ns: int) -> bytearray:
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            remaining_ns = deadline_ns - self._clock.monotonic_ns()
            if remaining_ns <= 0:
                raise TimeoutError
            connection = self._connection()
            connection.settimeout(remaining_ns / NS_PER_S)
            received = connection.recv_into(view)
            if received == 0:
                raise ConnectionError("the twin closed the connection")
            view = view[received:]
        return buffer

    def _more_waits(self) -> bool:
        """A newer frame is already here: the one just read is late."""
        readable, _, _ = select.select([self._connection()], [], [], 0)
        return bool(readable)

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("the camera is not open")
        return self._socket

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        self._info = None
        if connection is not None:
            connection.close()


def _intrinsics(answer: dict[str, Any]) -> CameraIntrinsics:
    k1, k2, p1, p2, k3 = (float(value) for value in answer.get("distortion", (0.0,) * 5))
    return CameraIntrinsics(
        width=int(answer["width"]),
        height=int(answer["height"]),
        fx=float(answer["fx"]),
        fy=float(answer["fy"]),
        cx=float(answer["cx"]),
        cy=float(answer["cy"]),
        distortion=(k1, k2, p1, p2, k3),
    )
