"""ONNX Runtime: runs a graph as it is, on any CPU or an NVIDIA GPU; the fallback everywhere.

On the CPU, arrays in and arrays out. On a GPU all buffers are bound once: host arrays are copied into them, tensors of another
engine on the same GPU are read where they lie, and the whole pass is one captured CUDA graph.
"""

from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime as ort

from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import Tensor, Tensors, TensorSpec, on_host

_ERRORS = 3
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}


def load(source: EngineSource) -> "OnnxRuntimeCpu | OnnxRuntimeCuda":
    """A session of its own for ``source``.

    Raises:
        EngineError: the file does not load, has shapes that are not fixed, or the GPU provider is absent.
    """
    if source.device == "cpu":
        return OnnxRuntimeCpu(source)
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise EngineError(
            f"engine {source.name}: onnxruntime {ort.__version__} has no CUDA provider; pip install onnxruntime-gpu"
        )
    return OnnxRuntimeCuda(source)


class _Session:
    """What both devices share."""

    runtime = "onnxruntime"

    def __init__(self, source: EngineSource, *, providers: list[Any]) -> None:
        options = ort.SessionOptions()
        # a pool that spins between runs takes the cores of the servo loop
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.intra_op_num_threads = source.threads
        options.log_severity_level = _ERRORS
        try:
            self.session = ort.InferenceSession(str(source.path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own for every kind of bad file
            raise EngineError(f"engine {source.name}: {source.path} does not load: {_first_line(error)}") from error
        self.name, self.device = source.name, source.device
        self.inputs = _specs(self.session.get_inputs(), engine=source.name)
        self.outputs = _specs(self.session.get_outputs(), engine=source.name)
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        """What the graph says of itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self.session = None


class OnnxRuntimeCpu(_Session):
    """Arrays in, fresh arrays out."""

    def __init__(self, source: EngineSource) -> None:
        super().__init__(source, providers=["CPUExecutionProvider"])
        self._names = [spec.name for spec in self.outputs]

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self.run(zeros(self.inputs))

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        feeds = {name: on_host(tensor) for name, tensor in checked(inputs, self.inputs, engine=self.name).items()}
        try:
            values = self.session.run(self._names, feeds)
        except Exception as error:  # as above
            raise EngineError(f"engine {self.name} failed: {_first_line(error)}") from error
        return dict(zip(self._names, values, strict=True))


class OrtTensor:
    """An array in GPU memory that ONNX Runtime owns."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.shape = tuple(value.shape())

    def to_host(self) -> np.ndarray[Any, np.dtype[Any]]:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        array: np.ndarray[Any, np.dtype[Any]] = self.value.numpy()
        return array


class OnnxRuntimeCuda(_Session):
    """Bound buffers and a CUDA graph. Written against the API; see ARCHITECTURE.md for where it has run."""

    def __init__(self, source: EngineSource) -> None:
        options = {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "EXHAUSTIVE"}
        super().__init__(source, providers=[("CUDAExecutionProvider", options), "CPUExecutionProvider"])
        self._binding = self.session.io_binding()
        self._buffers = {spec.name: _allocate(spec) for spec in self.inputs}
        self._bound: dict[str, Any] = {}
        self._results = {spec.name: _allocate(spec) for spec in self.outputs}
        for name, value in self._results.items():
            self._binding.bind_ortvalue_output(name, value)
        self._tensors: dict[str, Tensor] = {name: OrtTensor(value) for name, value in self._results.items()}

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; the second pass captures the graph, the third replays it."""
        for _ in range(3):
            self.run(zeros(self.inputs))

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        for name, tensor in checked(inputs, self.inputs, engine=self.name).items():
            self._bind(name, self._place(name, tensor))
        try:
            self.session.run_with_iobinding(self._binding)
        except Exception as error:  # as above
            raise EngineError(f"engine {self.name} failed: {_first_line(error)}") from error
        return self._tensors

    def _place(self, name: str, tensor: Tensor) -> Any:
        if isinstance(tensor, OrtTensor):
            return tensor.value
        buffer = self._buffers[name]
        buffer.update_inplace(np.ascontiguousarray(on_host(tensor)))
        return buffer

    def _bind(self, name: str, value: Any) -> None:
        """Only when it changes: a graph is captured for fixed addresses."""
        if self._bound.get(name) is not value:
            self._binding.bind_ortvalue_input(name, value)
            self._bound[name] = value


def _allocate(spec: TensorSpec) -> Any:
    return ort.OrtValue.ortvalue_from_shape_and_type(list(spec.shape), np.dtype(spec.dtype).type, "cuda", 0)


def _specs(nodes: Any, *, engine: str) -> tuple[TensorSpec, ...]:
    specs = []
    for node in nodes:
        if not all(isinstance(size, int) for size in node.shape):
            raise EngineError(f"engine {engine}: {node.name} has the shape {node.shape}, which is not fixed")
        if node.type not in _DTYPES:
            raise EngineError(f"engine {engine}: {node.name} is {node.type}, which does not travel")
        specs.append(TensorSpec(name=node.name, shape=tuple(node.shape), dtype=_DTYPES[node.type]))
    return tuple(specs)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
