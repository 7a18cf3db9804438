"""Runs what AOTInductor compiled; on a GPU as one captured CUDA graph.

It lives here and not among :mod:`mola_core.runtime.engines` because it needs torch, which the robot's runtime must do without; bundles
find it through the entry point group ``mola.runners``.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mola_core.export.torch_engine import TorchTensor, empty_inputs
from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.engines.sidecar import read_sidecar
from mola_core.runtime.tensors import Tensors, on_host


def load(source: EngineSource) -> "AotInductorEngine":
    """The engine of ``source``.

    Raises:
        EngineError: the package does not load under this torch.
    """
    return AotInductorEngine(source)


class AotInductorEngine:
    """See :class:`~mola_core.runtime.engines.protocol.Engine`."""

    runtime = "aot_inductor"

    def __init__(self, source: EngineSource) -> None:
        self.name, self.device = source.name, source.device
        self.inputs, self.outputs = read_sidecar(source.path)
        try:
            self._call: Callable[..., Any] | None = torch._inductor.aoti_load_package(str(source.path))  # noqa: SLF001  # documented
        except RuntimeError as error:
            raise EngineError(
                f"engine {source.name}: {source.path} does not load: {str(error).splitlines()[0]}"
            ) from error
        self._buffers = {
            spec.name: buffer
            for spec, buffer in zip(self.inputs, empty_inputs(self.inputs, device=source.device), strict=True)
        }
        self._graph: torch.cuda.CUDAGraph | None = None
        self._results: dict[str, Tensor] = {}

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        for _ in range(3):
            self.run(zeros(self.inputs))
        if self.device != "cpu":
            self._capture()

    @torch.inference_mode()
    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        for name, tensor in checked(inputs, self.inputs, engine=self.name).items():
            given = tensor.tensor if isinstance(tensor, TorchTensor) else torch.from_numpy(np.asarray(on_host(tensor)))
            self._buffers[name].copy_(given, non_blocking=True)
        if self._graph is not None:
            self._graph.replay()
        else:
            self._results = self._outputs()
        if self.device == "cpu":
            return {name: tensor.numpy() for name, tensor in self._results.items()}
        return {name: TorchTensor(tensor) for name, tensor in self._results.items()}

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self._call, self._graph = None, None
        self._results, self._buffers = {}, {}

    @torch.inference_mode()
    def _capture(self) -> None:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._results = self._outputs()
        self._graph = graph

    def _outputs(self) -> dict[str, Tensor]:
        if self._call is None:
            raise EngineError(f"engine {self.name} is closed")
        outputs = self._call(*self._buffers.values())
        return {spec.name: tensor for spec, tensor in zip(self.outputs, outputs, strict=True)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
