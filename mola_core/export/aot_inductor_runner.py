"""Runs what AOTInductor compiled; on a GPU as one captured CUDA graph.

It lives here and not among :mod:`mola_core.runtime.engines` because it needs torch, which the robot's runtime must do without; bundles
find it through the entry point group ``mola.runners``.
"""

from types import TracebackType
from typing import Self

import torch

from mola_core.export.torch_call import Call, DeviceCall, HostCall
from mola_core.runtime.engines.checks import checked, zeros
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.engines.sidecar import read_sidecar
from mola_core.runtime.tensors import Tensors, finish


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
        names = [spec.name for spec in self.outputs]
        package = _package(source)
        self._call: HostCall | DeviceCall | None
        if source.device == "cpu":
            self._call = HostCall(package, inputs=self.inputs, outputs=names)
        else:
            self._call = DeviceCall(
                package, inputs=self.inputs, outputs=names, device=source.device, background=source.background
            )
        self._captures = source.device != "cpu"

    def warm(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        for _ in range(3):
            finish(self.run(zeros(self.inputs)))
        if isinstance(self._call, DeviceCall) and self._captures:
            self._call.capture()
            self._captures = False

    def run(self, inputs: Tensors) -> Tensors:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        given = checked(inputs, self.inputs, engine=self.name)
        if self._call is None:
            raise EngineError(f"engine {self.name} is closed")
        return self._call.run(given)

    def close(self) -> None:
        """See :class:`~mola_core.runtime.engines.protocol.Engine`."""
        self._call = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _package(source: EngineSource) -> Call:
    try:
        package: Call = torch._inductor.aoti_load_package(str(source.path))  # noqa: SLF001  # documented
    except RuntimeError as error:
        raise EngineError(f"engine {source.name}: {source.path} does not load: {str(error).splitlines()[0]}") from error
    return package
