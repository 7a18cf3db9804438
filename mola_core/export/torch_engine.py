"""A stage run by torch itself, behind the protocol of engines: the reference that all others are compared with."""

from types import TracebackType
from typing import Any, Literal, Self

import torch

from mola_core.export.stages import StageModule
from mola_core.export.torch_call import DeviceCall, HostCall
from mola_core.runtime.bundle_policy import CONTROL_STAGES
from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import Tensors, TensorSpec, finish, on_host

Mode = Literal["eager", "graph", "compiled"]


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
        placed = module.to(device)
        call: Any = torch.compile(placed, dynamic=False) if mode == "compiled" else placed
        self._call: HostCall | DeviceCall | None
        if device == "cpu":
            self._call = HostCall(call, inputs=module.inputs, outputs=module.outputs)
        else:
            self._call = DeviceCall(
                call,
                inputs=module.inputs,
                outputs=module.outputs,
                device=device,
                background=module.stage not in CONTROL_STAGES,
            )
        self._captures = mode != "eager"
        self.outputs: tuple[TensorSpec, ...] = ()

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`; the outputs' shapes are known from here on."""
        for _ in range(3):
            outputs = self.run(zeros(self.inputs))
        finish(outputs)
        if isinstance(self._call, DeviceCall) and self._captures:
            self._call.capture()
            self._captures = False
        self.outputs = tuple(
            TensorSpec(name, tuple(tensor.shape), on_host(tensor).dtype.name) for name, tensor in outputs.items()
        )

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        if self._call is None:
            raise EngineError(f"engine {self.name} is closed")
        outputs = self._call.run(given)
        if self.waits:
            finish(outputs)
        return outputs

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self._call = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
