"""Memory on a card and for copies to it, and whose turn it is to use it."""

import ctypes

import numpy as np

from mola_core.runtime.engines.cuda import call, cuda_runtime
from mola_core.runtime.engines.cuda_stream import Event, Stream


class DeviceMemory:
    """A block of a card's memory, and until when others read it."""

    def __init__(self, num_bytes: int) -> None:
        self._cuda = cuda_runtime()
        self.num_bytes = num_bytes
        self.pointer = int(call(self._cuda.cudaMalloc(num_bytes)))
        self._readers: list[Event] = []
        self._closed = False

    def is_read_until(self, event: Event) -> None:
        """Whoever writes next has to wait for ``event``."""
        self._readers.append(event)

    def claim(self, stream: Stream) -> None:
        """What ``stream`` writes from here on comes after all reading that was noted."""
        while self._readers:
            stream.wait_for(self._readers.pop())

    def close(self) -> None:
        """Safe to call twice."""
        if not self._closed:
            self._closed = True
            call(self._cuda.cudaFree(self.pointer))


class PinnedMemory:
    """Host memory that the card copies from by itself, while the calling thread goes on."""

    def __init__(self, num_bytes: int) -> None:
        self._cuda = cuda_runtime()
        self.pointer = int(call(self._cuda.cudaMallocHost(num_bytes)))
        place = (ctypes.c_uint8 * num_bytes).from_address(self.pointer)
        self.bytes = np.frombuffer(memoryview(place), dtype=np.uint8)
        """uint8, one axis."""
        self._closed = False

    def close(self) -> None:
        """Safe to call twice; ``bytes`` must not be touched any more."""
        if not self._closed:
            self._closed = True
            call(self._cuda.cudaFreeHost(self.pointer))


class MemoryPool:
    """Blocks of one size for what leaves an engine: one goes out with each result and is back when nobody holds that any more.

    :meth:`give_back` comes from whatever thread lets go last, in the middle of anything it does: hence no lock, only appending to a
    list and popping from it, each of which is one step.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._spare: list[DeviceMemory] = []
        self._closed = False

    def take(self) -> DeviceMemory:
        """A block that nobody holds; :meth:`DeviceMemory.claim` it before writing.

        Raises:
            EngineError: the card has no memory left.
        """
        try:
            return self._spare.pop()
        except IndexError:
            return DeviceMemory(self.num_bytes)

    def give_back(self, memory: DeviceMemory) -> None:
        """Nobody holds ``memory`` any more; what still reads it has noted so."""
        self._spare.append(memory)
        if self._closed:
            self._free()

    def close(self) -> None:
        """Free what is back; the rest is freed as it comes back. Safe to call twice."""
        self._closed = True
        self._free()

    def _free(self) -> None:
        while True:
            try:
                memory = self._spare.pop()
            except IndexError:
                return
            memory.close()
