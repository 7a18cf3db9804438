"""A stage run by torch itself, behind the protocol of engines: the reference that all others are compared with."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from mola_core.export.stages import StageModule
from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.tensors import Tensor as RuntimeTensor
from mola_core.runtime.tensors import Tensors, TensorSpec, on_host

Mode = Literal["eager", "graph", "compiled"]


class TorchTensor:
    """A tensor in a device's memory."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.shape = tuple(tensor.shape)

    def to_host(self) -> np.ndarray[Any, np.dtype[Any]]:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        array: np.ndarray[Any, np.dtype[Any]] = self.tensor.cpu().numpy()
        return array


class TorchEngine:
    """Eager; captured as one CUDA graph; or compiled by ``torch.compile`` (with CUDA graphs on a GPU)."""

    runtime = "torch"

    def __init__(self, module: StageModule, *, device: str = "cpu", mode: Mode = "eager") -> None:
        self.name: str = module.stage
        self.device = device
        self.inputs = module.inputs
        self._module = module.to(device)
        self._names = module.outputs
        self._call: Any = self._module
        if mode == "compiled":
            how = "reduce-overhead" if device != "cpu" else "default"
            self._call = torch.compile(self._module, mode=how, dynamic=False)
        self._wants_graph = mode == "graph" and device != "cpu"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._fixed: tuple[list[Tensor], tuple[Tensor, ...]] = ([], ())
        """Inputs and outputs of the captured graph."""
        self.outputs: tuple[TensorSpec, ...] = ()

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; the outputs' shapes are known from here on."""
        for _ in range(3):
            outputs = self.run(zeros(self.inputs))
        if self._wants_graph and self._graph is None:
            self._capture()
        self.outputs = tuple(
            TensorSpec(name, tuple(tensor.shape), on_host(tensor).dtype.name) for name, tensor in outputs.items()
        )

    @torch.inference_mode()
    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        outputs = self._outputs([self._placed(given[spec.name]) for spec in self.inputs])
        results = zip(self._names, outputs, strict=True)
        if self.device == "cpu":
            return {name: tensor.numpy() for name, tensor in results}
        return {name: TorchTensor(tensor) for name, tensor in results}

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self._call, self._graph, self._fixed = None, None, ([], ())

    def _outputs(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        if self._graph is None:
            outputs: tuple[Tensor, ...] = self._call(*inputs)
            return outputs
        fixed, results = self._fixed
        for buffer, tensor in zip(fixed, inputs, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return results

    @torch.inference_mode()
    def _capture(self) -> None:
        inputs = empty_inputs(self.inputs, device=self.device)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._call(*inputs)
        self._graph, self._fixed = graph, (inputs, outputs)

    def _placed(self, tensor: RuntimeTensor) -> Tensor:
        if isinstance(tensor, TorchTensor):
            return tensor.tensor
        return torch.from_numpy(np.ascontiguousarray(on_host(tensor))).to(self.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def empty_inputs(specs: Sequence[TensorSpec], *, device: str) -> list[Tensor]:
    """A tensor of zeros for each spec (true for masks), on ``device``."""
    return [torch.from_numpy(np.asarray(array)).to(device) for array in zeros(specs).values()]
