"""Draws what clients asked for, when it is due, in a thread of its own: physics never waits for a picture."""

import threading

import mujoco
import numpy as np
from jaxtyping import UInt8, UInt16

from mola_core.contracts.clock import NS_PER_MS, Clock
from mola_twin.cell import optics
from mola_twin.cell.camera_streams import RenderedFrame, Stream, StreamRegistry, StreamRequest
from mola_twin.cell.realtime import RealtimeCell, Snapshot
from mola_twin.cell.renderer import CellRenderer

_IDLE_S = 0.2
_SAME_FRAME_NS = 4 * NS_PER_MS
"""Streams due this close together are drawn from one snapshot."""


class RenderLoop:
    """Owns all OpenGL contexts; they live and die in the thread that calls :meth:`run`."""

    def __init__(self, cell: RealtimeCell, streams: StreamRegistry, *, clock: Clock) -> None:
        self._cell = cell
        self._streams = streams
        self._clock = clock
        self._renderers: dict[tuple[int, int], CellRenderer] = {}
        self._model: mujoco.MjModel | None = None
        self._data: mujoco.MjData | None = None

    def run(self, stopping: threading.Event) -> None:
        """Draw until ``stopping``; blocks."""
        try:
            while not stopping.is_set():
                if not self._streams.wait_any(_IDLE_S):
                    continue
                self._sleep_until_due()
                self._draw_due()
        finally:
            for renderer in self._renderers.values():
                renderer.close()

    def _sleep_until_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        due_ns = min((stream.due_ns for stream in self._streams.all()), default=now_ns)
        self._clock.sleep_until(min(due_ns, now_ns + round(_IDLE_S * 1e9)))

    def _draw_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        due = [stream for stream in self._streams.all() if stream.due_ns <= now_ns + _SAME_FRAME_NS]
        wanted = [stream for stream in due if not self._cell.is_dropped(stream.request.camera_bit)]
        unready = [stream for stream in due if not stream.ready.is_set()]
        if wanted or unready:
            snapshot = self._cell.snapshot(self._data, self._model)
            self._model, self._data = snapshot.model, snapshot.data
            for stream in unready:
                self._draw(stream.request, snapshot)  # the first drawing of a size compiles shaders
                stream.ready.set()
            drawn: dict[StreamRequest, RenderedFrame] = {}
            for stream in wanted:
                frame = self._frame(stream, snapshot, drawn)
                stream.put(frame)
        for stream in due:
            # behind by more than a period: skip, as a camera that cannot keep up drops frames
            stream.due_ns = max(stream.due_ns + stream.request.period_ns, now_ns)

    def _frame(self, stream: Stream, snapshot: Snapshot, drawn: dict[StreamRequest, RenderedFrame]) -> RenderedFrame:
        request = stream.request
        stream.sequence += 1
        twin = drawn.get(request)
        if twin is not None:
            return RenderedFrame(twin.stamp_ns, stream.sequence, twin.color, twin.depth_counts)
        color, counts = self._draw(request, snapshot)
        frame = RenderedFrame(snapshot.stamp_ns, stream.sequence, color, counts)
        drawn[request] = frame
        return frame

    def _draw(
        self, request: StreamRequest, snapshot: Snapshot
    ) -> tuple[UInt8[np.ndarray, "height width 3"], UInt16[np.ndarray, "height width"] | None]:
        view = optics.intrinsics(model=request.model, width=request.width, height=request.height)
        color, metres = self._renderer(snapshot.model, request).render(
            snapshot.model, snapshot.data, camera=request.camera, intrinsics=view, depth=request.depth
        )
        counts = None if metres is None else optics.depth_counts(metres, model=request.model, width=request.width)
        return color, counts

    def _renderer(self, model: mujoco.MjModel, request: StreamRequest) -> CellRenderer:
        size = (request.width, request.height)
        if size not in self._renderers:
            self._renderers[size] = CellRenderer(model, width=request.width, height=request.height)
        return self._renderers[size]
