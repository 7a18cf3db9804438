"""The few calls of the CUDA runtime that a runner without torch needs: memory, one stream, one captured graph.

Through NVIDIA's own bindings (package ``cuda-bindings``). Errors carry CUDA's name for them.
"""

import ctypes
from typing import Any

import numpy as np

from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime  # noqa: PLC0415  # only where there is a GPU
    except ImportError as error:
        raise EngineError("the CUDA runtime's Python bindings are missing: pip install cuda-bindings") from error
    return runtime


def call(result: Any) -> Any:
    """The value of a CUDA call, which answers ``(status, value…)``.

    Raises:
        EngineError: the status is not success.
    """
    status, *values = result
    if int(status) != 0:
        raise EngineError(f"CUDA: {getattr(status, 'name', status)}")
    return values[0] if len(values) == 1 else tuple(values)


class Stream:
    """A stream of its own, so that no other engine's work waits for this one's."""

    def __init__(self) -> None:
        self._cuda = _runtime()
        self.handle = call(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))
        self._graph: Any = None

    def synchronize(self) -> None:
        """Wait for everything issued so far."""
        call(self._cuda.cudaStreamSynchronize(self.handle))

    def begin_capture(self) -> None:
        """Record instead of running, until :meth:`end_capture`."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(self._cuda.cudaStreamBeginCapture(self.handle, mode))

    def end_capture(self) -> None:
        """From here on :meth:`replay` runs what was recorded."""
        graph = call(self._cuda.cudaStreamEndCapture(self.handle))
        self._graph = call(self._cuda.cudaGraphInstantiate(graph, 0))
        call(self._cuda.cudaGraphDestroy(graph))

    @property
    def captured(self) -> bool:
        return self._graph is not None

    def replay(self) -> None:
        """Run what was recorded."""
        call(self._cuda.cudaGraphLaunch(self._graph, self.handle))

    def close(self) -> None:
        """Safe to call twice."""
        if self._graph is not None:
            call(self._cuda.cudaGraphExecDestroy(self._graph))
            self._graph = None
        if self.handle is not None:
            call(self._cuda.cudaStreamDestroy(self.handle))
            self.handle = None


class CudaBuffer:
    """Device memory for one tensor, and pinned host memory of the same size to copy through."""

    def __init__(self, spec: TensorSpec, stream: Stream) -> None:
        self._cuda = _runtime()
        self._stream = stream
        self.shape = spec.shape
        self._dtype = np.dtype(spec.dtype)
        self.num_bytes = int(np.prod(spec.shape, dtype=np.int64)) * self._dtype.itemsize
        self.pointer = int(call(self._cuda.cudaMalloc(self.num_bytes)))
        self._pinned = int(call(self._cuda.cudaMallocHost(self.num_bytes)))

    def fill(self, array: Array) -> None:
        """Copy from the host; the caller may change ``array`` at once."""
        self._stream.synchronize()  # the pinned memory may still be on its way
        self._host_view()[...] = array
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        call(self._cuda.cudaMemcpyAsync(self.pointer, self._pinned, self.num_bytes, kind, self._stream.handle))

    def fill_from(self, other: "CudaBuffer") -> None:
        """Copy within the device, after ``other``'s stream has made it."""
        if other.pointer == self.pointer:
            return
        other._stream.synchronize()  # noqa: SLF001  # of the same class
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        call(self._cuda.cudaMemcpyAsync(self.pointer, other.pointer, self.num_bytes, kind, self._stream.handle))

    def to_host(self) -> Array:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self._cuda.cudaMemcpyAsync(self._pinned, self.pointer, self.num_bytes, kind, self._stream.handle))
        self._stream.synchronize()
        return self._host_view().copy()

    def close(self) -> None:
        """Safe to call twice."""
        if self.pointer:
            call(self._cuda.cudaFree(self.pointer))
            call(self._cuda.cudaFreeHost(self._pinned))
            self.pointer = self._pinned = 0

    def _host_view(self) -> Array:
        memory = memoryview((ctypes.c_uint8 * self.num_bytes).from_address(self._pinned))
        view: Array = np.frombuffer(memory, dtype=self._dtype).reshape(self.shape)
        return view
