"""TensorRT: compiles on the card that the engine is for. Written against the API of versions 10 and 11."""

from pathlib import Path
from typing import Any

from mola_core.export.compilers.plan import build_plan
from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.errors import ExportError
from mola_core.runtime.machine import gpu_arch

TIMING_CACHE = Path("~/.cache/mola/tensorrt.timing").expanduser()


class TensorRtCompiler:
    """See :class:`~mola_core.export.compilers.protocol.Compiler`."""

    suffix = ".plan"

    def __init__(self) -> None:
        try:
            import tensorrt  # noqa: PLC0415  # only where it is installed
        except ImportError as error:
            raise ExportError(
                "TensorRT is not installed: pip install -r docker/gpu.in (TensorRT and CUDA's bindings of one CUDA version)"
            ) from error
        self._api: Any = tensorrt

    @property
    def version(self) -> str:
        return str(self._api.__version__)

    def compile(self, job: CompileJob) -> None:
        """See :class:`~mola_core.export.compilers.protocol.Compiler`."""
        here = gpu_arch()
        if job.arch != here:
            raise ExportError(
                f"TensorRT compiles for the card it runs on: asked for {job.arch}, this machine is {here}; "
                "tensorrt_rtx compiles ahead of time"
            )
        TIMING_CACHE.parent.mkdir(parents=True, exist_ok=True)
        build_plan(self._api, job, configure=_configure, timing_cache=TIMING_CACHE)


def _configure(config: Any) -> None:
    """The card in this machine, and the best kernels whatever they take to find."""
    config.builder_optimization_level = 5
