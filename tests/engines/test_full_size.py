"""The paper's model at its size, every stage in half precision: exports with fixed shapes and compiles for an RTX 4090 without one.

    python -m pytest -s tests/engines/test_full_size.py

prints what every step took. Random weights; twenty minutes beside a training, 15 GB of memory and 10 GB of disk under ``TMPDIR``.
No graph is run here; ``mola export`` has torch compute golden outputs besides.
"""

import gc
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ahead_of_time import only_x86_64

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.compiling import open_compiler
from mola_core.export.onnx import export_stage, num_parameters
from mola_core.export.stages import StageModule, StageOptions, stages_of
from mola_core.export.weights_file import WEIGHTS, share_weights
from mola_core.nets.mola import build_mola
from mola_core.runtime.engines.checks import zeros
from mola_core.runtime.stages import Stage
from mola_core.training.recipes.full import full

MEGA, GIGA = 1e6, 1e9
CONTROL_PATH: tuple[Stage, ...] = ("encoder", "video", "actor")
OUTPUTS: dict[Stage, list[int]] = {
    "encoder": [2, 4, 32, 32],
    "video": [2, 16, 2560, 16, 16],
    "preview": [2, 16, 256, 256, 3],
    "actor": [10, 7],
}
"""Shapes of the first output of each."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Graphs:
    """Those of all stages, with their weights in one file."""

    folder: Path
    inputs: dict[Stage, list[str]]

    def path(self, stage: Stage) -> Path:
        return self.folder / f"{stage}.onnx"


@pytest.fixture(scope="module")
def graphs() -> Iterator[Graphs]:
    with tempfile.TemporaryDirectory() as folder:
        made = Graphs(folder=Path(folder), inputs={})
        for stage, module in _modules().items():
            with told(f"{stage}: export"):
                export_stage(module, made.path(stage), example=zeros(module.inputs))
            made.inputs[stage] = [spec.name for spec in module.inputs]
        del module  # with it goes the model, 3.5 GB
        gc.collect()
        with told("weights of all stages into one file"):
            share_weights([made.path(stage) for stage in made.inputs])
        yield made


def _modules() -> dict[Stage, StageModule]:
    """In half precision from the start: half the memory."""
    recipe = full()
    torch.set_default_dtype(torch.float16)
    try:
        mola = build_mola(recipe.model)
    finally:
        torch.set_default_dtype(torch.float32)
    return stages_of(mola, io=recipe.io, options=StageOptions(precision="fp16"))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say how long it took and the most memory that this process, with all it held before, had resident meanwhile."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    begin, worked = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
    processor = used.ru_utime + used.ru_stime - worked.ru_utime - worked.ru_stime
    print(f"{what}: {seconds:.1f} s ({processor:.1f} s of processor), peak {_peak_bytes() / GIGA:.2f} GB resident")


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def weight_bytes(path: Path) -> int:
    """Of all weights that the graph reads, as they are stored."""
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in tensors
    )


def test_every_stage_exports_at_full_size(graphs: Graphs) -> None:
    weights = {stage: weight_bytes(graphs.path(stage)) / MEGA for stage in graphs.inputs}
    for stage, names in graphs.inputs.items():
        graph = onnx.load(graphs.path(stage), load_external_data=False).graph
        assert [node.name for node in graph.input] == names
        assert [size.dim_value for size in graph.output[0].type.tensor_type.shape.dim] == OUTPUTS[stage]
        size = graphs.path(stage).stat().st_size / MEGA
        print(f"{stage}: {len(graph.node)} nodes, graph of {size:.1f} MB, weights of {weights[stage]:.1f} MB")
    control = sum(weights[stage] for stage in CONTROL_PATH)
    stored = (graphs.folder / WEIGHTS).stat().st_size / MEGA
    print(
        f"weights: {stored:.1f} MB in one file; engines of the control path hold {control:.1f} MB, all {sum(weights.values()):.1f} MB"
    )


def test_what_comes_after_the_last_tap_is_left_out(graphs: Graphs) -> None:
    parameters = num_parameters(graphs.path("video"))
    assert 0.8e9 < parameters < 1.53e9
    assert weight_bytes(graphs.path("video")) == pytest.approx(2 * parameters, rel=0.02)


def test_the_preview_brings_no_second_video_network(graphs: Graphs) -> None:
    stored = (graphs.folder / WEIGHTS).stat().st_size
    without = sum(weight_bytes(graphs.path(stage)) for stage in graphs.inputs if stage != "video")
    assert stored == pytest.approx(without, rel=0.02)


@only_x86_64
@pytest.mark.parametrize("stage", OUTPUTS)
def test_every_stage_compiles_for_an_rtx_4090_without_one(graphs: Graphs, stage: Stage) -> None:
    compiler = open_compiler("tensorrt_rtx")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{stage}{compiler.suffix}"
        with told(f"{stage}: TensorRT-RTX {compiler.version} for sm_89"):
            compiler.compile(CompileJob(stage=stage, graph=graphs.path(stage), out=out, arch="sm_89", precision="fp16"))
        size = out.stat().st_size
    weights = weight_bytes(graphs.path(stage))
    print(f"{stage}: engine of {size / MEGA:.1f} MB, {size / weights:.3f} x its weights")
    assert weights < size < 1.2 * weights + 50e6, "all weights, in half precision, and little else"
