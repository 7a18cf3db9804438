"""The compilers of TensorRT's plans against a stand-in of its builder: what they tell it, and what they refuse."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.compilers.tensorrt import TensorRtCompiler
from mola_core.export.compilers.tensorrt_rtx import TensorRtRtxCompiler
from mola_core.export.errors import ExportError


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
