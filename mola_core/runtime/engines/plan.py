"""Runs a serialised plan; TensorRT and TensorRT-RTX share this, each brings its module.

Buffers are allocated once and bound by name. The first passes run as they are; then one is captured, and every later one is a single
launch, with the copies in before it and the copies out after it in the same stream. Written against the API; see ARCHITECTURE.md for
where it has run.
"""

from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from types import TracebackType
from typing import Any, Self

from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.cuda_stream import Event, Graph, Stream
from mola_core.runtime.engines.cuda_tensor import CudaInput, CudaOutput
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import Tensors, TensorSpec, finish

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
        if self._context is None:
            raise EngineError(
                f"engine {source.name}: {runtime} has no memory left on this card to run {source.path}; unload another bundle"
            )
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.inputs = self._specs(names, mode=api.TensorIOMode.INPUT)
        self.outputs = self._specs(names, mode=api.TensorIOMode.OUTPUT)
        self._graph: Graph | None = None
        with ExitStack() as owned:
            self._stream = owned.enter_context(closing(Stream(background=source.background)))
            self._staged = Event()
            self._places: Mapping[str, CudaInput] = {
                spec.name: owned.enter_context(closing(CudaInput(spec, self._stream))) for spec in self.inputs
            }
            self._results: Mapping[str, CudaOutput] = {
                spec.name: owned.enter_context(closing(CudaOutput(spec, self._stream))) for spec in self.outputs
            }
            pointers = {name: place.pointer for name, place in self._places.items()}
            pointers |= {name: result.pointer for name, result in self._results.items()}
            for name, pointer in pointers.items():
                self._context.set_tensor_address(name, pointer)
            owned.callback(self._stream.synchronize)  # the first to happen on closing
            self._owned = owned.pop_all()

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; nothing lazy may happen in a capture, so it runs twice first."""
        for _ in range(2):
            finish(self.run(zeros(self.inputs)))
        if self._graph is None:
            self._graph = self._owned.enter_context(closing(Graph(self._stream, self._enqueue)))
            self._owned.callback(self._stream.synchronize)
        finish(self.run(zeros(self.inputs)))

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        if self._context is None:
            raise EngineError(f"engine {self.name} is closed")
        self._staged.wait()
        for name, tensor in given.items():
            self._places[name].fill(tensor, staged=self._staged)
        self._stream.record(self._staged)
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()
        made = Event()
        results = {name: result.copied(made=made) for name, result in self._results.items()}
        self._stream.record(made)
        return results

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        # a card that has failed says so to every call from then on, and whoever used the engine has heard it
        with suppress(EngineError):
            self._owned.close()
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
