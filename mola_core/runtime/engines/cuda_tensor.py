"""Arrays on a card: what an engine reads from, what it writes to, and what it hands out."""

import weakref
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from mola_core.runtime.engines.cuda import call, cuda_runtime
from mola_core.runtime.engines.cuda_memory import DeviceMemory, MemoryPool, PinnedMemory
from mola_core.runtime.engines.cuda_stream import Event, Stream
from mola_core.runtime.tensors import Tensor, TensorSpec, on_host


class CudaTensor:
    """A result in a card's memory; see :class:`~mola_core.runtime.tensors.DeviceTensor`. Any thread may read it."""

    def __init__(self, spec: TensorSpec, memory: DeviceMemory, *, made: Event, pool: MemoryPool) -> None:
        """``memory`` holds it from ``made`` on and goes back to ``pool`` with the last who holds this."""
        self._cuda = cuda_runtime()
        self.shape, self.dtype = spec.shape, spec.dtype
        self.memory = memory
        self.made = made
        weakref.finalize(self, pool.give_back, memory).atexit = False

    def wait(self) -> None:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        self.made.wait()

    def to_host(self) -> np.ndarray[Any, np.dtype[Any]]:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`.

        By the blocking copy, in no engine's stream: there it would come after whatever that engine was given meanwhile.
        """
        self.made.wait()
        array = np.empty(self.shape, dtype=self.dtype)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self._cuda.cudaMemcpy(array.ctypes.data, self.memory.pointer, array.nbytes, kind))
        return array


class CudaInput:
    """Where an engine reads one input: always at the same address, filled by way of pinned memory or from another result."""

    def __init__(self, spec: TensorSpec, stream: Stream) -> None:
        self._cuda = cuda_runtime()
        self._stream = stream
        num_bytes = size_of(spec)
        with ExitStack() as owned:
            self._memory = owned.enter_context(closing(DeviceMemory(num_bytes)))
            pinned = owned.enter_context(closing(PinnedMemory(num_bytes)))
            self._pinned = pinned.pointer
            self._staged = pinned.bytes.view(spec.dtype).reshape(spec.shape)
            self._owned = owned.pop_all()

    @property
    def pointer(self) -> int:
        return self._memory.pointer

    def fill(self, tensor: Tensor, *, staged: Event) -> None:
        """Enqueue the copy; a host array may be changed at once.

        ``staged`` has been waited for since the last filling, for the pinned memory may be under way until then, and is recorded
        after this one.
        """
        if isinstance(tensor, CudaTensor):
            self._stream.wait_for(tensor.made)
            tensor.memory.is_read_until(staged)
            self._copy(tensor.memory.pointer, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice)
        else:
            np.copyto(self._staged, on_host(tensor))
            self._copy(self._pinned, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def close(self) -> None:
        """Free both memories; safe to call twice."""
        self._owned.close()

    def _copy(self, source: int, kind: Any) -> None:
        call(
            self._cuda.cudaMemcpyAsync(self._memory.pointer, source, self._memory.num_bytes, kind, self._stream.handle)
        )


class CudaOutput:
    """Where an engine writes one output: always at the same address, so what is handed out is a copy in memory of its own."""

    def __init__(self, spec: TensorSpec, stream: Stream) -> None:
        self._cuda = cuda_runtime()
        self._spec, self._stream = spec, stream
        self._memory = DeviceMemory(size_of(spec))
        self._pool = MemoryPool(self._memory.num_bytes)

    @property
    def pointer(self) -> int:
        return self._memory.pointer

    def copied(self, *, made: Event) -> CudaTensor:
        """Enqueue the copy; ``made`` is recorded after it.

        Raises:
            EngineError: the card has no memory left.
        """
        memory = self._pool.take()
        result = CudaTensor(self._spec, memory, made=made, pool=self._pool)
        memory.claim(self._stream)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        call(self._cuda.cudaMemcpyAsync(memory.pointer, self.pointer, memory.num_bytes, kind, self._stream.handle))
        return result

    def close(self) -> None:
        """Free it, except for what results are still held in; safe to call twice."""
        self._memory.close()
        self._pool.close()


def size_of(spec: TensorSpec) -> int:
    """Bytes."""
    return int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
