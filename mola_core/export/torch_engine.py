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
    """Eager; captured as one CUDA graph; or compiled by ``torch.compile`` and, on a GPU, captured too.

    The capture is ours and not that of ``mode="reduce-overhead"``: stages run in turn, and its graphs would count each other's
    outputs as overwritten.
    """

    runtime = "torch"

    def __init__(self, module: StageModule, *, device: str = "cpu", mode: Mode = "eager") -> None:
        self.name: str = module.stage
        self.device = device
        self.inputs = module.inputs
        self.waits = False
        """Finish the device's work before ``run`` returns: only to time stages one by one."""
        self._module = module.to(device)
        self._names = module.outputs
        self._call: Any = torch.compile(self._module, dynamic=False) if mode == "compiled" else self._module
        self._captures = mode != "eager" and device != "cpu"
        self._captured: _Captured | None = None
        self.outputs: tuple[TensorSpec, ...] = ()

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; the outputs' shapes are known from here on."""
        for _ in range(3):
            outputs = self.run(zeros(self.inputs))
        if self._captures and self._captured is None:
            self._captured = _Captured(self._call, self.inputs, device=self.device)
        self.outputs = tuple(
            TensorSpec(name, tuple(tensor.shape), on_host(tensor).dtype.name) for name, tensor in outputs.items()
        )

    @torch.inference_mode()
    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        outputs: tuple[Tensor, ...]
        if self._captured is not None:
            outputs = self._captured.replay(given)
        else:
            outputs = self._call(*(self._placed(given[spec.name]) for spec in self.inputs))
        if self.waits and self.device != "cpu":
            torch.cuda.synchronize()
        results = zip(self._names, outputs, strict=True)
        if self.device == "cpu":
            return {name: tensor.numpy() for name, tensor in results}
        return {name: TorchTensor(tensor) for name, tensor in results}

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self._call, self._captured = None, None

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


class _Captured:
    """One CUDA graph with inputs and outputs at fixed places; what comes from the host goes by pinned memory, without waiting."""

    @torch.inference_mode()
    def __init__(self, call: Any, specs: Sequence[TensorSpec], *, device: str) -> None:
        self._inputs = dict(zip((spec.name for spec in specs), empty_inputs(specs, device=device), strict=True))
        self._pinned = {
            name: torch.empty_like(tensor, device="cpu").pin_memory() for name, tensor in self._inputs.items()
        }
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs: tuple[Tensor, ...] = call(*self._inputs.values())
        torch.cuda.synchronize()

    def replay(self, given: Tensors) -> tuple[Tensor, ...]:
        """The outputs are overwritten by the next replay."""
        self._copied.synchronize()  # pinned memory is free again
        for name, tensor in given.items():
            place = self._inputs[name]
            if isinstance(tensor, TorchTensor):
                place.copy_(tensor.tensor, non_blocking=True)
                continue
            staged = self._pinned[name]
            np.copyto(staged.numpy(), on_host(tensor))
            place.copy_(staged, non_blocking=True)
        self._copied.record()
        self._graph.replay()
        return self._outputs


def empty_inputs(specs: Sequence[TensorSpec], *, device: str) -> list[Tensor]:
    """A tensor of zeros for each spec (true for masks), on ``device``."""
    return [torch.from_numpy(np.asarray(array)).to(device) for array in zeros(specs).values()]
