"""A module called through named tensors: on the CPU as it is, on a GPU in a stream of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mola_core.runtime.engines.checks import zeros
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import Tensor as RuntimeTensor
from mola_core.runtime.tensors import Tensors, TensorSpec, on_host

Call = Callable[..., Sequence[Tensor]]
"""Tensors in the order of the inputs to tensors in the order of the outputs."""


class TorchTensor:
    """A result in a GPU's memory; see :class:`~mola_core.runtime.tensors.DeviceTensor`. Any thread may read it."""

    def __init__(self, tensor: Tensor, *, made: torch.cuda.Event) -> None:
        """``tensor`` is nobody else's, and holds the result from ``made`` on."""
        self.tensor = tensor
        self.made = made
        self.shape = tuple(tensor.shape)
        self.dtype = str(tensor.dtype).removeprefix("torch.")

    def wait(self) -> None:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        try:
            self.made.synchronize()
        except RuntimeError as error:
            raise EngineError(f"the GPU failed: {str(error).splitlines()[0]}") from error

    def to_host(self) -> np.ndarray[Any, np.dtype[Any]]:
        """See :class:`~mola_core.runtime.tensors.DeviceTensor`."""
        self.wait()
        array: np.ndarray[Any, np.dtype[Any]] = self.tensor.cpu().numpy()
        return array


class HostCall:
    """On the CPU; arrays in, fresh arrays out."""

    def __init__(self, call: Call, *, inputs: Sequence[TensorSpec], outputs: Sequence[str]) -> None:
        self._call, self._inputs, self._outputs = call, inputs, outputs

    @torch.inference_mode()
    def run(self, given: Tensors) -> Tensors:
        """One pass; ``given`` is what ``inputs`` declare."""
        outputs = self._call(*(torch.tensor(on_host(given[spec.name])) for spec in self._inputs))
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, outputs, strict=True)}


class DeviceCall:
    """On a GPU, in a stream of its own that waits for other streams only where it reads their results.

    Inputs have fixed places, filled by way of pinned memory or from other results. What is handed out is a copy, whose memory torch's
    allocator uses again when nobody holds it and no stream reads it any more.
    """

    @torch.inference_mode()
    def __init__(
        self, call: Call, *, inputs: Sequence[TensorSpec], outputs: Sequence[str], device: str, background: bool
    ) -> None:
        """Kernels of a ``background`` call come after those of all others that are ready."""
        self._call, self._outputs = call, outputs
        least, greatest = torch.cuda.Stream.priority_range()  # type: ignore[call-arg]  # static, unlike its stub
        self._stream = torch.cuda.Stream(device, priority=least if background else greatest)  # type: ignore[no-untyped-call]
        self._staged = _event()
        torch.cuda.synchronize(device)  # weights have come by another stream
        with torch.cuda.stream(self._stream):
            places = empty_inputs(inputs, device=device)
        self._places = {spec.name: place for spec, place in zip(inputs, places, strict=True)}
        self._pinned = {
            name: torch.empty_like(place, device="cpu").pin_memory() for name, place in self._places.items()
        }
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captured: Sequence[Tensor] = ()

    @torch.inference_mode()
    def capture(self) -> None:
        """From here on a pass is one launch; whatever it does for the first time must have happened."""
        graph = torch.cuda.CUDAGraph()
        # calls that other threads make meanwhile, for engines in service, do not concern this recording
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._captured = self._call(*self._places.values())
        self._graph = graph

    @torch.inference_mode()
    def run(self, given: Tensors) -> Tensors:
        """One pass, enqueued; ``given`` is what ``inputs`` declare."""
        self._staged.synchronize()  # pinned memory is free again
        with torch.cuda.stream(self._stream):
            for name, tensor in given.items():
                self._fill(name, tensor)
            self._staged.record(self._stream)
            outputs = self._pass()
            copies = [output.clone() for output in outputs]
            made = _event()
            made.record(self._stream)
        return {name: TorchTensor(copy, made=made) for name, copy in zip(self._outputs, copies, strict=True)}

    def _fill(self, name: str, tensor: RuntimeTensor) -> None:
        place = self._places[name]
        if isinstance(tensor, TorchTensor):
            self._stream.wait_event(tensor.made)
            place.copy_(tensor.tensor, non_blocking=True)
            tensor.tensor.record_stream(self._stream)
        else:
            staged = self._pinned[name]
            np.copyto(staged.numpy(), on_host(tensor))
            place.copy_(staged, non_blocking=True)

    def _pass(self) -> Sequence[Tensor]:
        if self._graph is None:
            return self._call(*self._places.values())
        self._graph.replay()
        return self._captured


def empty_inputs(specs: Sequence[TensorSpec], *, device: str) -> list[Tensor]:
    """A tensor of zeros for each spec (true for masks), on ``device``."""
    return [torch.from_numpy(np.asarray(array)).to(device) for array in zeros(specs).values()]


def _event() -> torch.cuda.Event:
    """A thread that waits for it sleeps: one that spins takes a core from the servo loop."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
