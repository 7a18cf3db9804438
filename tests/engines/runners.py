"""Each runner, made from the micro model: what the conformance suite runs over. Those that need a card are skipped without one."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import fake_cuda
import fake_plan
import onnxruntime as ort
import pytest
import torch

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.compiling import open_compiler
from mola_core.export.draft import Draft
from mola_core.export.exporting import Exportable, onnx_path
from mola_core.export.stages import StageModule, StageOptions, stages_of
from mola_core.export.torch_engine import TorchEngine
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.onnxruntime import OnnxRuntimeCuda
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.engines.sidecar import write_sidecar
from mola_core.runtime.machine import gpu_arch
from mola_core.runtime.stages import Stage
from mola_core.runtime.tensors import TensorSpec


@dataclass(frozen=True)
class Workshop:
    """What a runner is made from, and where."""

    model: Exportable
    draft: Draft
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def module(self, stage: Stage) -> StageModule:
        """Of a copy: a card, or a compiler, may do with it what it likes."""
        return stages_of(deepcopy(self.model.mola), io=self.model.io, options=StageOptions())[stage]

    def source(self, stage: Stage, *, device: str) -> EngineSource:
        return EngineSource(name=stage, path=self.draft.path / onnx_path(stage), device=device, threads=1)

    def compiled(self, stage: Stage, *, runtime: Any, arch: str) -> Engine:
        compiler = open_compiler(runtime)
        out = self.folder / f"{stage}{compiler.suffix}"
        compiler.compile(
            CompileJob(
                stage=stage,
                graph=self.draft.path / onnx_path(stage),
                out=out,
                arch=arch,
                precision="fp32",
                module=self.module(stage),
            )
        )
        record = self.draft.manifest.stages[stage]
        inputs, outputs = (
            tuple(TensorSpec(item.name, item.shape, item.dtype) for item in side)
            for side in (record.inputs, record.outputs)
        )
        write_sidecar(out, inputs=inputs, outputs=outputs)
        device = "cpu" if arch == "cpu" else "cuda"
        return load_engine(runtime, EngineSource(name=stage, path=out, device=device))


Maker = Callable[[Workshop, Stage], Engine]


def torch_eager(workshop: Workshop, stage: Stage) -> Engine:
    return TorchEngine(workshop.module(stage))


def torch_graph(workshop: Workshop, stage: Stage) -> Engine:
    return TorchEngine(workshop.module(stage), device="cuda", mode="graph")


def onnxruntime_cpu(workshop: Workshop, stage: Stage) -> Engine:
    return load_engine("onnxruntime", workshop.source(stage, device="cpu"))


class BoundOnCpu(OnnxRuntimeCuda):
    """The runner for cards with a real session and real bindings; only the memory is the processor's."""

    providers: ClassVar[list[Any]] = ["CPUExecutionProvider"]
    memory = "cpu"


def onnxruntime_bound(workshop: Workshop, stage: Stage) -> Engine:
    return BoundOnCpu(workshop.source(stage, device="cpu"))


def onnxruntime_cuda(workshop: Workshop, stage: Stage) -> Engine:
    return load_engine("onnxruntime", workshop.source(stage, device="cuda"))


def plan_on_a_fake_card(workshop: Workshop, stage: Stage) -> Engine:
    """The runner of plans on :mod:`fake_cuda`; the passes are ONNX Runtime's."""
    cuda = fake_cuda.installed(workshop.monkeypatch)
    plan = fake_plan.plan_of(onnxruntime_cpu(workshop, stage), cuda)
    return fake_plan.load(workshop.monkeypatch, workshop.folder, plan, name=stage)


def aot_inductor_cpu(workshop: Workshop, stage: Stage) -> Engine:
    return workshop.compiled(stage, runtime="aot_inductor", arch="cpu")


def compiled_here(runtime: str) -> Maker:
    return lambda workshop, stage: workshop.compiled(stage, runtime=runtime, arch=gpu_arch())


def needs(present: bool, what: str) -> pytest.MarkDecorator:  # reads as a sentence
    return pytest.mark.skipif(not (present and GPU != "cpu"), reason=f"needs an NVIDIA GPU and {what}")


GPU = gpu_arch()
CARD = needs(torch.cuda.is_available(), "torch with CUDA")
ORT_CARD = needs("CUDAExecutionProvider" in ort.get_available_providers(), "onnxruntime-gpu")
BINDINGS = find_spec("cuda") is not None
TRT_CARD = needs(find_spec("tensorrt") is not None and BINDINGS, "tensorrt and cuda-bindings")
RTX_CARD = needs(
    find_spec("tensorrt_rtx") is not None and BINDINGS and GPU != "sm_90",
    "tensorrt-rtx and cuda-bindings, and not Hopper",
)

MAKERS = [
    pytest.param(torch_eager, id="torch"),
    pytest.param(onnxruntime_cpu, id="onnxruntime"),
    pytest.param(onnxruntime_bound, id="onnxruntime bound"),
    pytest.param(plan_on_a_fake_card, id="plan on a fake card"),
    pytest.param(aot_inductor_cpu, id="aot_inductor", marks=pytest.mark.slow),  # compiles C++ for half a minute
    pytest.param(torch_graph, id="torch on a card", marks=CARD),
    pytest.param(onnxruntime_cuda, id="onnxruntime on a card", marks=ORT_CARD),
    pytest.param(compiled_here("tensorrt"), id="tensorrt", marks=TRT_CARD),
    pytest.param(compiled_here("tensorrt_rtx"), id="tensorrt_rtx", marks=RTX_CARD),
    pytest.param(compiled_here("aot_inductor"), id="aot_inductor on a card", marks=[CARD, pytest.mark.slow]),
]
