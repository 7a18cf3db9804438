"""A stand-in for CUDA's runtime that puts everything off: what is enqueued runs only when somebody waits for it, and then no more than
was waited for. A wait that is missing, or memory that is used again too early, then gives wrong numbers.

Device memory is host memory. Like a card it knows memory by address alone; unlike one it notices what is freed, and what is left over.
"""
# ruff: noqa: N802, N815  # CUDA's names

import ctypes
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

LEAST, GREATEST = 0, -5


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


Work = Callable[[], None]
DONE = (Status.cudaSuccess,)


@dataclass
class FakeStream:
    """``num_done`` of all that was ever enqueued are done, in order."""

    priority: int
    queue: deque[Work] = field(default_factory=deque)
    num_enqueued: int = 0
    num_done: int = 0
    recording: list[Work] | None = None

    def enqueue(self, work: Work) -> None:
        if self.recording is not None:
            self.recording.append(work)
            return
        self.queue.append(work)
        self.num_enqueued += 1

    def run_to(self, number: int) -> None:
        while self.num_done < number:
            self.num_done += 1
            self.queue.popleft()()


@dataclass
class FakeEvent:
    """Where in which stream it was recorded last."""

    stream: FakeStream | None = None
    number: int = 0

    def reach(self) -> None:
        if self.stream is not None:
            self.stream.run_to(self.number)


class FakeCuda(ModuleType):
    """The module ``cuda.bindings.runtime``."""

    cudaStreamNonBlocking = 1
    cudaEventBlockingSync = 1
    cudaEventDisableTiming = 2
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        super().__init__("runtime")
        self._handles = itertools.count(1000)
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: dict[int, FakeStream] = {}
        self.events: dict[int, FakeEvent] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.instances: dict[int, list[Work]] = {}
        self.launches = 0
        self.host_waits = 0
        """Calls that held the calling thread until something was done."""
        self.makings = 0
        """Calls that make something which has to be freed."""
        self.failing_making: int | None = None
        """Number of the one that fails."""
        self.broken = False
        """Something enqueued has failed: like a card's context, it is of no use any more."""

    @property
    def left_over(self) -> dict[str, int]:
        """What was made and not freed."""
        kinds = ("device", "pinned", "streams", "events", "graphs", "instances")
        return {kind: len(getattr(self, kind)) for kind in kinds if getattr(self, kind)}

    @contextmanager
    def failing_at(self, number: int) -> Iterator[None]:
        """Meanwhile the ``number``-th thing that is to be made is not."""
        self.makings, self.failing_making = 0, number
        try:
            yield
        finally:
            self.failing_making = None

    def fail(self) -> None:
        """Work that does what it must not."""
        self.broken = True

    # --- streams and events

    def cudaDeviceGetStreamPriorityRange(self):
        return Status.cudaSuccess, LEAST, GREATEST

    def cudaStreamCreateWithPriority(self, _flags, priority):
        return self._made(self.streams, FakeStream(priority))

    def cudaStreamSynchronize(self, stream):
        self.host_waits += 1
        if self.streams[stream].recording is not None:
            return (Status.cudaErrorStreamCaptureUnsupported,)
        self.streams[stream].run_to(self.streams[stream].num_enqueued)
        return self._status()

    def cudaStreamDestroy(self, stream):
        self.streams.pop(stream)
        return DONE

    def cudaEventCreateWithFlags(self, flags):
        assert flags == self.cudaEventBlockingSync | self.cudaEventDisableTiming
        return self._made(self.events, FakeEvent())

    def cudaEventRecord(self, event, stream):
        self.events[event].stream = self.streams[stream]
        self.events[event].number = self.streams[stream].num_enqueued
        return DONE

    def cudaStreamWaitEvent(self, stream, event, _flags):
        seen = FakeEvent(self.events[event].stream, self.events[event].number)
        self.streams[stream].enqueue(seen.reach)
        return DONE

    def cudaEventSynchronize(self, event):
        self.host_waits += 1
        self.events[event].reach()
        return self._status()

    def cudaEventDestroy(self, event):
        self.events.pop(event)
        return DONE

    # --- graphs

    def cudaStreamBeginCapture(self, stream, _mode):
        self.streams[stream].recording = []
        return DONE

    def cudaStreamEndCapture(self, stream):
        work, self.streams[stream].recording = self.streams[stream].recording, None
        return self._made(self.graphs, work)

    def cudaGraphInstantiate(self, graph, _flags):
        return self._made(self.instances, self.graphs[graph])

    def cudaGraphDestroy(self, graph):
        self.graphs.pop(graph)
        return DONE

    def cudaGraphLaunch(self, instance, stream):
        self.launches += 1
        for work in self.instances[instance]:
            self.streams[stream].enqueue(work)
        return DONE

    def cudaGraphExecDestroy(self, instance):
        self.instances.pop(instance)
        return DONE

    # --- memory

    def cudaMalloc(self, size):
        return self._allocated(self.device, size)

    def cudaMallocHost(self, size):
        return self._allocated(self.pinned, size)

    def cudaFree(self, pointer):
        for stream in self.streams.values():  # as CUDA does: it waits for the whole device
            stream.run_to(stream.num_enqueued)
        self.device.pop(pointer)
        return self._status()

    def cudaFreeHost(self, pointer):
        self.pinned.pop(pointer)
        return DONE

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        kinds = self.cudaMemcpyKind
        assert target in self.device
        assert source in (self.pinned if kind == kinds.cudaMemcpyHostToDevice else self.device)

        def copy() -> None:
            assert target in self.device, "written to after it was freed"
            assert source in self.device or source in self.pinned, "read after it was freed"
            ctypes.memmove(target, source, size)

        self.streams[stream].enqueue(copy)
        return DONE

    def cudaMemcpy(self, target, source, size, kind):
        """At once: engines' streams do not wait for it, nor it for them."""
        assert kind == self.cudaMemcpyKind.cudaMemcpyDeviceToHost
        assert source in self.device, "read after it was freed"
        ctypes.memmove(target, source, size)
        return self._status()

    def _status(self) -> tuple[Status]:
        return (Status.cudaErrorIllegalAddress if self.broken else Status.cudaSuccess,)

    def _allocated(self, memory: dict[int, Any], size: int) -> tuple[Any, ...]:
        block = ctypes.create_string_buffer(b"\xff" * size, size)  # whatever was there before
        return self._made(memory, block, handle=ctypes.addressof(block))

    def _made(self, table: dict[int, Any], thing: Any, *, handle: int | None = None) -> tuple[Any, ...]:
        self.makings += 1
        if self.makings == self.failing_making:
            return Status.cudaErrorMemoryAllocation, None
        handle = next(self._handles) if handle is None else handle
        table[handle] = thing
        return Status.cudaSuccess, handle


def install(monkeypatch: Any, *, version: str = "13.0.0") -> FakeCuda:
    """Put it where ``cuda-bindings`` would be."""
    fake = FakeCuda()
    package, bindings, utils = (ModuleType(name) for name in ("cuda", "cuda.bindings", "cuda.bindings.utils"))
    package.bindings = bindings  # type: ignore[attr-defined]
    bindings.runtime, bindings.__version__ = fake, version  # type: ignore[attr-defined]
    utils.get_cuda_native_handle = int  # type: ignore[attr-defined]
    for module in (package, bindings, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    return fake


def installed(monkeypatch: Any) -> FakeCuda:
    """The one that stands there already, else a new one: engines of one card share it."""
    there = sys.modules.get("cuda.bindings.runtime")
    return there if isinstance(there, FakeCuda) else install(monkeypatch)
