"""Runs a serialised plan; TensorRT and TensorRT-RTX share this, each brings its module.

Buffers are allocated once and bound by name. The first passes run as they are; then one is captured, and every later one is a single
launch. What another plan of this process has made is copied within the device. Written against the API; see ARCHITECTURE.md for where
it has run.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.cuda import CudaBuffer, Stream
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import Tensors, TensorSpec, on_host

_DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64", "BOOL": "bool", "UINT8": "uint8"}


class PlanEngine:
    """See :class:`~mola_core.runtime.engines.protocol.Engine`."""

    device = "cuda"

    def __init__(self, api: Any, source: EngineSource, *, runtime: str) -> None:
        self.name, self.runtime = source.name, runtime
        logger = api.Logger(api.Logger.ERROR)
        try:
            plan = source.path.read_bytes()
        except OSError as error:
            raise EngineError(f"engine {source.name}: {source.path} cannot be read ({error.strerror})") from error
        self._runtime = api.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"engine {source.name}: {runtime} {api.__version__} does not accept {source.path} on this card"
            )
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.inputs = self._specs(names, mode=api.TensorIOMode.INPUT)
        self.outputs = self._specs(names, mode=api.TensorIOMode.OUTPUT)
        self._stream = Stream()
        self._buffers = {spec.name: CudaBuffer(spec, self._stream) for spec in (*self.inputs, *self.outputs)}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.pointer)
        self._results: Mapping[str, CudaBuffer] = {spec.name: self._buffers[spec.name] for spec in self.outputs}

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; nothing lazy may happen in a capture, so it runs twice first."""
        for _ in range(2):
            self.run(zeros(self.inputs))
        self._stream.synchronize()
        self._stream.begin_capture()
        self._enqueue()
        self._stream.end_capture()
        self.run(zeros(self.inputs))
        self._stream.synchronize()

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; returns before the device is done, readers wait."""
        for name, tensor in checked(inputs, self.inputs, engine=self.name).items():
            if isinstance(tensor, CudaBuffer):
                self._buffers[name].fill_from(tensor)
            else:
                self._buffers[name].fill(on_host(tensor))
        if self._stream.captured:
            self._stream.replay()
        else:
            self._enqueue()
        return self._results

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        for buffer in self._buffers.values():
            buffer.close()
        self._stream.close()
        self._context = self._engine = None

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineError(f"engine {self.name}: {self.runtime} could not enqueue the pass")

    def _specs(self, names: list[str], *, mode: Any) -> tuple[TensorSpec, ...]:
        chosen = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        return tuple(TensorSpec(name, self._shape(name), self._dtype(name)) for name in chosen)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._engine.get_tensor_shape(name))
        if min(shape, default=0) < 0:
            raise EngineError(f"engine {self.name}: {name} has the shape {shape}, which is not fixed")
        return shape

    def _dtype(self, name: str) -> str:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise EngineError(f"engine {self.name}: {name} is {kind}, which does not travel")
        return _DTYPES[kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
