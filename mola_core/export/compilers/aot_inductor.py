"""PyTorch's AOTInductor: for GPUs without TensorRT (Hopper machines offline). Reads the model itself, not its graph."""

from pathlib import Path

import torch

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.errors import ExportError
from mola_core.export.gpu_layout import lay_out_for_gpu
from mola_core.export.torch_call import empty_inputs
from mola_core.runtime.machine import gpu_arch


class AotInductorCompiler:
    """See :class:`~mola_core.export.compilers.protocol.Compiler`."""

    suffix = ".pt2"

    @property
    def version(self) -> str:
        return str(torch.__version__)

    def compile(self, job: CompileJob) -> None:
        """See :class:`~mola_core.export.compilers.protocol.Compiler`."""
        if job.module is None:
            raise ExportError(
                "AOTInductor compiles the model itself: give --checkpoint, the one the bundle was made from"
            )
        here = gpu_arch()
        if job.arch not in {"cpu", here}:
            raise ExportError(
                f"AOTInductor compiles for the machine it runs on: asked for {job.arch}, this one is {here}"
            )
        device = "cpu" if job.arch == "cpu" else "cuda"
        module = job.module.to(device)
        if device == "cuda":
            lay_out_for_gpu(module)
        with torch.inference_mode():
            program = torch.export.export(module, tuple(empty_inputs(module.inputs, device=device)))
        written = torch._inductor.aoti_compile_and_package(  # noqa: SLF001  # the documented entry point
            program,
            package_path=str(job.out),
            # no max_autotune: on an H200 it spent minutes on the small model to find that the libraries' own kernels are the fastest
            inductor_configs={"freezing": device == "cpu"},
        )
        if not Path(written).is_file():
            raise ExportError(f"AOTInductor built no engine of {job.stage}")
