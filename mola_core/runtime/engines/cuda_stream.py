"""The order of work on a card: streams, the points in them that others wait for, and what is launched as one."""

import weakref
from collections.abc import Callable

from mola_core.runtime.engines.cuda import call, cuda_runtime, handle_of


class Event:
    """A point in a stream, once :meth:`Stream.record` has set it; before that, nothing to wait for.

    It lives as long as anybody may wait for it, also when the engine that made it has been closed.
    """

    def __init__(self) -> None:
        self._cuda = cuda_runtime()
        # a thread that waits sleeps: one that spins takes a core from the servo loop
        flags = self._cuda.cudaEventDisableTiming | self._cuda.cudaEventBlockingSync
        self.handle = handle_of(call(self._cuda.cudaEventCreateWithFlags(flags)))
        weakref.finalize(self, self._cuda.cudaEventDestroy, self.handle).atexit = False

    def wait(self) -> None:
        """Hold the calling thread until the card is there.

        Raises:
            EngineError: the card failed on its way.
        """
        call(self._cuda.cudaEventSynchronize(self.handle))


class Stream:
    """A stream of its own, so that no other engine's work waits for this one's unless it is told to."""

    def __init__(self, *, background: bool) -> None:
        """Kernels of a ``background`` stream come after those of all others that are ready."""
        self._cuda = cuda_runtime()
        least, greatest = call(self._cuda.cudaDeviceGetStreamPriorityRange())
        made = self._cuda.cudaStreamCreateWithPriority(
            self._cuda.cudaStreamNonBlocking, least if background else greatest
        )
        self.handle = handle_of(call(made))
        self._closed = False

    def record(self, event: Event) -> None:
        """``event`` is what has been enqueued here so far."""
        call(self._cuda.cudaEventRecord(event.handle, self.handle))

    def wait_for(self, event: Event) -> None:
        """What is enqueued from here on comes after ``event``; the calling thread goes on."""
        call(self._cuda.cudaStreamWaitEvent(self.handle, event.handle, 0))

    def synchronize(self) -> None:
        """Hold the calling thread until everything enqueued so far is done.

        Raises:
            EngineError: the card failed meanwhile.
        """
        call(self._cuda.cudaStreamSynchronize(self.handle))

    def close(self) -> None:
        """Safe to call twice."""
        if not self._closed:
            self._closed = True
            call(self._cuda.cudaStreamDestroy(self.handle))


class Graph:
    """What was enqueued on a stream once, launched as one from then on; it keeps to the addresses of that time."""

    def __init__(self, stream: Stream, enqueue: Callable[[], None]) -> None:
        """``enqueue`` is recorded instead of run; what it raises ends the recording.

        Raises:
            EngineError: it does something that cannot be recorded.
        """
        self._cuda = cuda_runtime()
        self._stream = stream
        # calls that other threads make meanwhile, for engines in service, do not concern this recording
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(self._cuda.cudaStreamBeginCapture(stream.handle, mode))
        try:
            enqueue()
        except BaseException:
            _, graph = self._cuda.cudaStreamEndCapture(stream.handle)
            if graph is not None:
                self._cuda.cudaGraphDestroy(graph)
            raise
        graph = call(self._cuda.cudaStreamEndCapture(stream.handle))
        try:
            self._handle = handle_of(call(self._cuda.cudaGraphInstantiate(graph, 0)))
        finally:
            call(self._cuda.cudaGraphDestroy(graph))
        self._closed = False

    def launch(self) -> None:
        """Enqueue all of it."""
        call(self._cuda.cudaGraphLaunch(self._handle, self._stream.handle))

    def close(self) -> None:
        """Safe to call twice."""
        if not self._closed:
            self._closed = True
            call(self._cuda.cudaGraphExecDestroy(self._handle))
