"""ONNX Runtime: runs a graph as it is, on any CPU or an NVIDIA GPU; the fallback everywhere.

On the CPU, arrays in and arrays out. On a GPU host arrays are copied there, results of another session on the same GPU are read where
they lie, and outputs stay in memory that is new with every run. No CUDA graph: ONNX Runtime replays it on the buffers of its first
runs, whatever is bound later.
"""

from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime as ort

from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import Tensors, TensorSpec, on_host

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
            self.session: Any = ort.InferenceSession(str(source.path), options, providers=providers)
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

    def _opened(self) -> Any:
        if self.session is None:
            raise EngineError(f"engine {self.name} is closed")
        return self.session


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
        session = self._opened()
        try:
            values = session.run(self._names, feeds)
        except Exception as error:  # as above
            raise EngineError(f"engine {self.name} failed: {_first_line(error)}") from error
        return dict(zip(self._names, values, strict=True))


class OrtTensor:
    """An array in memory that ONNX Runtime owns; made when its run returned."""

    def __init__(self, value: Any, *, session: Any) -> None:
        """``session`` has allocated ``value`` and lives as long."""
        self.value = value
        self.shape = tuple(value.shape())
        self.dtype = _DTYPES[value.data_type()]
        self._session = session

    def wait(self) -> None:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`; a run waits for the GPU itself."""

    def to_host(self) -> np.ndarray[Any, np.dtype[Any]]:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        array: np.ndarray[Any, np.dtype[Any]] = self.value.numpy()
        return array


class OnnxRuntimeCuda(_Session):
    """Inputs and outputs bound anew for each run. Written against the API; see ARCHITECTURE.md for where it has run."""

    providers: ClassVar[list[Any]] = [
        ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "EXHAUSTIVE"}),
        "CPUExecutionProvider",
    ]
    memory = "cuda"
    """Where outputs stay."""

    def __init__(self, source: EngineSource) -> None:
        super().__init__(source, providers=self.providers)

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self.run(zeros(self.inputs))

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        session = self._opened()
        try:
            binding = session.io_binding()  # one that has run would write to the outputs that it gave
            for name, tensor in given.items():
                if isinstance(tensor, OrtTensor):
                    binding.bind_ortvalue_input(name, tensor.value)
                else:
                    binding.bind_cpu_input(name, np.ascontiguousarray(on_host(tensor)))
            for spec in self.outputs:
                binding.bind_output(spec.name, self.memory)
            binding.synchronize_inputs()
            session.run_with_iobinding(binding)
        except Exception as error:  # as above
            raise EngineError(f"engine {self.name} failed: {_first_line(error)}") from error
        values = zip(self.outputs, binding.get_outputs(), strict=True)
        return {spec.name: OrtTensor(value, session=session) for spec, value in values}


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
