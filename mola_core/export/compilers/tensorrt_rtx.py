"""TensorRT-RTX: compiles ahead of time, also without a GPU; Turing, Ampere, Ada and Blackwell, not Hopper."""

from typing import Any

from mola_core.export.compilers.plan import build_plan
from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.errors import ExportError


class TensorRtRtxCompiler:
    """See :class:`~mola_core.export.compilers.protocol.Compiler`."""

    suffix = ".rtx"

    def __init__(self) -> None:
        try:
            import tensorrt_rtx  # noqa: PLC0415  # only where it is installed
        except ImportError as error:
            raise ExportError("TensorRT-RTX is not installed: pip install tensorrt-rtx") from error
        self._api: Any = tensorrt_rtx

    @property
    def version(self) -> str:
        return str(self._api.__version__)

    def compile(self, job: CompileJob) -> None:
        """See :class:`~mola_core.export.compilers.protocol.Compiler`."""
        capability = getattr(self._api.ComputeCapability, job.arch.replace("_", "").upper(), None)
        if capability is None:
            known = sorted(name for name in dir(self._api.ComputeCapability) if name.startswith("SM"))
            raise ExportError(
                f"TensorRT-RTX {self.version} does not compile for {job.arch}; it knows {', '.join(known)}"
            )

        def configure(config: Any) -> None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(capability, 0)

        # no timing cache: making one asks for a GPU, which this compiler does without
        build_plan(self._api, job, configure=configure)
