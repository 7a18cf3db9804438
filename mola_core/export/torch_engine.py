"""A stage run by torch itself, behind the protocol of engines: the reference that all others are compared with."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mola_core.export.stages import StageModule
from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.tensors import Tensor as RuntimeTensor
from mola_core.runtime.tensors import Tensors, TensorSpec, on_host


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
    """Eager, or compiled by ``torch.compile`` (with CUDA graphs on a GPU)."""

    runtime = "torch"

    def __init__(self, module: StageModule, *, device: str = "cpu", compiled: bool = False) -> None:
        self.name: str = module.stage
        self.device = device
        self.inputs = module.inputs
        self._module = module.to(device)
        self._names = module.outputs
        mode = "reduce-overhead" if device != "cpu" else "default"
        self._call: Any = torch.compile(self._module, mode=mode, dynamic=False) if compiled else self._module
        self.outputs: tuple[TensorSpec, ...] = ()

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; the outputs' shapes are known from here on."""
        for _ in range(3):
            outputs = self.run(zeros(self.inputs))
        self.outputs = tuple(
            TensorSpec(name, tuple(tensor.shape), on_host(tensor).dtype.name) for name, tensor in outputs.items()
        )

    @torch.inference_mode()
    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        outputs = self._call(*(self._placed(given[spec.name]) for spec in self.inputs))
        results = zip(self._names, outputs, strict=True)
        if self.device == "cpu":
            return {name: tensor.numpy() for name, tensor in results}
        return {name: TorchTensor(tensor) for name, tensor in results}

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self._call = None

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
