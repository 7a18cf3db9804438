"""The runner of TensorRT's plans against a stand-in of its API and of CUDA: what is bound, captured, copied, refused, freed.

It says that the runner calls what it means to call, never that a card does what it should.
"""
# ruff: noqa: N802, N815  # CUDA's names

import ctypes
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.compilers.tensorrt import TensorRtCompiler
from mola_core.export.compilers.tensorrt_rtx import TensorRtRtxCompiler
from mola_core.export.errors import ExportError
from mola_core.runtime.engines.cuda import CudaBuffer
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.protocol import EngineError
from mola_core.runtime.tensors import RuntimeInputError, on_host


class FakeCuda(ModuleType):
    """Device memory is host memory; a captured graph is a list of what was enqueued."""

    def __init__(self) -> None:
        super().__init__("runtime")
        self.memory: dict[int, Any] = {}
        self.recording: list[Any] | None = None
        self.replays = 0
        self.cudaStreamNonBlocking = 1
        self.cudaMemcpyKind = SimpleNamespace(
            cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
        )
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def cudaStreamCreateWithFlags(self, _flags):
        return 0, 7

    def cudaStreamSynchronize(self, _stream):
        return (0,)

    def cudaStreamBeginCapture(self, _stream, _mode):
        self.recording = []
        return (0,)

    def cudaStreamEndCapture(self, _stream):
        graph, self.recording = self.recording, None
        return 0, graph

    def cudaGraphInstantiate(self, graph, _flags):
        return 0, graph

    def cudaGraphDestroy(self, _graph):
        return (0,)

    def cudaGraphLaunch(self, graph, _stream):
        self.replays += 1
        for work in graph:
            work()
        return (0,)

    def cudaGraphExecDestroy(self, _graph):
        return (0,)

    def cudaStreamDestroy(self, _stream):
        return (0,)

    def cudaMalloc(self, size):
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    cudaMallocHost = cudaMalloc

    def cudaMemcpyAsync(self, target, source, size, _kind, _stream):
        ctypes.memmove(target, source, size)
        return (0,)

    def cudaFree(self, pointer):
        del self.memory[pointer]
        return (0,)

    cudaFreeHost = cudaFree


class Mode(Enum):
    INPUT = 0
    OUTPUT = 1


@dataclass
class FakePlan:
    """y = 2 x, both 3 numbers."""

    cuda: FakeCuda
    shape: tuple[int, ...] = (3,)
    kind: str = "FLOAT"
    num_io_tensors: int = 2
    addresses: dict[str, int] = field(default_factory=dict)
    enqueued: int = 0
    succeeds: bool = True

    def get_tensor_name(self, index):
        return ("x", "y")[index]

    def get_tensor_mode(self, name):
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_shape(self, _name):
        return self.shape

    def get_tensor_dtype(self, _name):
        return SimpleNamespace(name=self.kind)

    def create_execution_context(self):
        return self

    def set_tensor_address(self, name, pointer):
        self.addresses[name] = pointer

    def execute_async_v3(self, _stream):
        self.enqueued += 1
        if self.cuda.recording is not None:
            self.cuda.recording.append(self.double)
        else:
            self.double()
        return self.succeeds

    def double(self):
        x, y = (np.ctypeslib.as_array((ctypes.c_float * 3).from_address(self.addresses[name])) for name in ("x", "y"))
        y[:] = 2 * x


def fake_api(plan: FakePlan | None) -> Any:
    return SimpleNamespace(
        __version__="11.0.0",
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
        Runtime=lambda _logger: SimpleNamespace(deserialize_cuda_engine=lambda _plan: plan),
        TensorIOMode=Mode,
    )


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    bindings.runtime = fake
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    return fake


def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plan: FakePlan | None) -> Any:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_api(plan))
    path = tmp_path / "x.plan"
    path.write_bytes(b"plan")
    return load_engine("tensorrt", EngineSource(name="x", path=path, device="cuda"))


X = np.array([1.0, 2.0, 3.0], dtype=np.float32)


def test_a_warm_engine_is_one_graph_and_frees_what_it_took(cuda, monkeypatch, tmp_path) -> None:
    plan = FakePlan(cuda)
    engine = load(monkeypatch, tmp_path, plan)
    engine.warm()
    enqueued = plan.enqueued
    outputs = engine.run({"x": X})
    np.testing.assert_array_equal(on_host(outputs["y"]), 2 * X)
    assert plan.enqueued == enqueued, "a warm engine only replays"
    assert cuda.replays == 2
    with pytest.raises(RuntimeInputError, match="x has shape"):
        engine.run({"x": X[:2]})
    engine.close()
    engine.close()
    assert not cuda.memory


def test_what_another_engine_made_is_copied_on_the_device(cuda, monkeypatch, tmp_path) -> None:
    first, second = (load(monkeypatch, tmp_path, FakePlan(cuda)) for _ in range(2))
    made = first.run({"x": X})["y"]
    assert isinstance(made, CudaBuffer)
    np.testing.assert_array_equal(on_host(second.run({"x": made})["y"]), 4 * X)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (None, "does not accept"),
        ({"shape": (-1,)}, "which is not fixed"),
        ({"kind": "FP8"}, "x is FP8, which does not travel"),
    ],
)
def test_plans_that_do_not_fit_are_refused(cuda, monkeypatch, tmp_path, plan, said) -> None:
    with pytest.raises(EngineError, match=said):
        load(monkeypatch, tmp_path, None if plan is None else FakePlan(cuda, **plan))


def test_a_pass_that_fails_is_an_error(cuda, monkeypatch, tmp_path) -> None:
    engine = load(monkeypatch, tmp_path, FakePlan(cuda, succeeds=False))
    with pytest.raises(EngineError, match="could not enqueue"):
        engine.run({"x": X})


# --- compilers --------------------------------------------------------------------------------------------------------


class FakeCompiler:
    """As much of a builder's API as is called; notes what it was told."""

    __version__ = "1.7.1"
    __name__ = "fake"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=3)
    MemoryPoolType = SimpleNamespace(WORKSPACE=0)
    ComputeCapability = SimpleNamespace(SM89=89, SM120=120)

    def __init__(self, *, parses: bool = True, plan: bytes | None = b"plan") -> None:
        self.told: dict[str, Any] = {}
        told, config = self.told, SimpleNamespace()
        config.set_memory_pool_limit = lambda _pool, size: told.update(workspace=size)
        config.set_compute_capability = lambda capability, index: told.update(capability=(capability, index))
        config.create_timing_cache = lambda content: SimpleNamespace(serialize=lambda: b"timings" + content)
        config.set_timing_cache = lambda _cache, ignore_mismatch: told.update(cache=not ignore_mismatch)
        builder = SimpleNamespace(
            create_network=lambda flags: told.update(flags=flags) or "network",
            create_builder_config=lambda: config,
            build_serialized_network=lambda _network, _config: plan,
        )
        problem = SimpleNamespace(desc=lambda: "no such operator")
        parser = SimpleNamespace(parse_from_file=lambda _path: parses, num_errors=1, get_error=lambda _index: problem)
        self.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
        self.Builder = lambda _logger: builder
        self.OnnxParser = lambda _network, _logger: parser


def job(tmp_path: Path, arch: str) -> CompileJob:
    return CompileJob(stage="video", graph=tmp_path / "x.onnx", out=tmp_path / "x.plan", arch=arch, precision="fp16")


def test_ahead_of_time_for_a_card_that_is_not_here(monkeypatch, tmp_path) -> None:
    api = FakeCompiler()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", api)
    compiler = TensorRtRtxCompiler()
    compiler.compile(job(tmp_path, "sm_89"))
    assert (tmp_path / "x.plan").read_bytes() == b"plan"
    assert api.told["capability"] == (89, 0)
    assert api.told["flags"] == 8, "strongly typed"
    assert "cache" not in api.told, "a timing cache would ask for a GPU"
    with pytest.raises(ExportError, match="does not compile for sm_90; it knows SM120, SM89"):
        compiler.compile(job(tmp_path, "sm_90"))


def test_tensorrt_compiles_for_the_card_it_runs_on_and_keeps_its_timings(monkeypatch, tmp_path) -> None:
    from mola_core.export.compilers import tensorrt as module  # noqa: PLC0415

    api = FakeCompiler()
    monkeypatch.setitem(sys.modules, "tensorrt", api)
    monkeypatch.setattr(module, "TIMING_CACHE", tmp_path / "cache" / "timings")
    monkeypatch.setattr(module, "gpu_arch", lambda: "sm_89")
    compiler = TensorRtCompiler()
    compiler.compile(job(tmp_path, "sm_89"))
    compiler.compile(job(tmp_path, "sm_89"))
    assert (tmp_path / "cache" / "timings").read_bytes() == b"timingstimings"
    with pytest.raises(ExportError, match="asked for sm_90, this machine is sm_89"):
        compiler.compile(job(tmp_path, "sm_90"))


def test_graphs_that_do_not_parse_or_build_are_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", FakeCompiler(parses=False))
    with pytest.raises(ExportError, match="does not understand the graph of video: no such operator"):
        TensorRtRtxCompiler().compile(job(tmp_path, "sm_89"))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", FakeCompiler(plan=None))
    with pytest.raises(ExportError, match="built no engine of video for sm_89"):
        TensorRtRtxCompiler().compile(job(tmp_path, "sm_89"))
