"""Every runner must pass what the others pass: same inputs, same outputs, same refusals."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mola_core.export.compilers.aot_inductor import AotInductorCompiler
from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.draft import Draft
from mola_core.export.exporting import Exportable, onnx_path
from mola_core.export.stages import StageOptions, stages_of
from mola_core.export.torch_engine import TorchEngine
from mola_core.runtime.bundle_policy import golden_path
from mola_core.runtime.engines.loading import EngineSource, load_engine, runner_names
from mola_core.runtime.engines.protocol import Engine, EngineError
from mola_core.runtime.engines.sidecar import write_sidecar
from mola_core.runtime.golden import TOLERANCES, Golden, parity_of, read_golden
from mola_core.runtime.tensors import RuntimeInputError, TensorSpec, on_host

Maker = Callable[[Exportable, Draft, Path], Engine]


def by_torch(model: Exportable, _draft: Draft, _folder: Path) -> Engine:
    return TorchEngine(stages_of(model.mola, io=model.io, options=StageOptions())["video"])


def by_onnxruntime(_model: Exportable, draft: Draft, _folder: Path) -> Engine:
    source = EngineSource(name="video", path=draft.path / onnx_path("video"), device="cpu", threads=1)
    return load_engine("onnxruntime", source)


def by_aot_inductor(model: Exportable, draft: Draft, folder: Path) -> Engine:
    module = stages_of(model.mola, io=model.io, options=StageOptions())["video"]
    out = folder / "video.pt2"
    AotInductorCompiler().compile(
        CompileJob(stage="video", graph=draft.path, out=out, arch="cpu", precision="fp32", module=module)
    )
    record = draft.manifest.stages["video"]
    inputs, outputs = (
        tuple(TensorSpec(item.name, item.shape, item.dtype) for item in side)
        for side in (record.inputs, record.outputs)
    )
    write_sidecar(out, inputs=inputs, outputs=outputs)
    return load_engine("aot_inductor", EngineSource(name="video", path=out, device="cpu"))


MAKERS = [
    pytest.param(by_torch, id="torch"),
    pytest.param(by_onnxruntime, id="onnxruntime"),
    pytest.param(by_aot_inductor, id="aot_inductor", marks=pytest.mark.slow),  # compiles C++ for half a minute
]


@pytest.fixture(scope="module", params=MAKERS)
def engine(
    request: pytest.FixtureRequest, model: Exportable, draft: Draft, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    maker: Maker = request.param
    with maker(model, draft, tmp_path_factory.mktemp("engine")) as engine:
        engine.warm()
        yield engine


@pytest.fixture(scope="module")
def golden(draft: Draft) -> Golden:
    return read_golden(draft.path / golden_path("video"))


def test_it_declares_the_stage_it_was_made_from(engine: Engine, draft: Draft) -> None:
    record = draft.manifest.stages["video"]
    for specs, items in ((engine.inputs, record.inputs), (engine.outputs, record.outputs)):
        assert {(spec.name, spec.shape, spec.dtype) for spec in specs} == {
            (item.name, item.shape, item.dtype) for item in items
        }


def test_it_gives_the_golden_outputs(engine: Engine, golden: Golden) -> None:
    record = parity_of(engine, golden)
    assert record.cosine >= TOLERANCES["fp32"].cosine
    assert record.max_abs <= TOLERANCES["fp32"].max_abs


def test_equal_inputs_give_equal_outputs_and_others_do_not(engine: Engine, golden: Golden) -> None:
    first = {name: on_host(tensor).copy() for name, tensor in engine.run(golden.inputs).items()}
    other = dict(golden.inputs) | {"video_noise": golden.inputs["video_noise"][:, ::-1].copy()}
    changed = on_host(engine.run(other)["features"]).copy()
    again = engine.run(golden.inputs)
    for name, values in first.items():
        np.testing.assert_array_equal(values, on_host(again[name]))
    assert not np.allclose(first["features"], changed)


def test_it_refuses_names_shapes_and_types_it_does_not_declare(engine: Engine, golden: Golden) -> None:
    inputs = dict(golden.inputs)
    with pytest.raises(RuntimeInputError, match=r"missing \['present'\], unknown \['past'\]"):
        engine.run({("past" if name == "present" else name): array for name, array in inputs.items()})
    with pytest.raises(RuntimeInputError, match="present has shape"):
        engine.run(inputs | {"present": inputs["present"][:1]})
    with pytest.raises(RuntimeInputError, match="present is float64, expected float32"):
        engine.run(inputs | {"present": inputs["present"].astype(np.float64)})


def test_closing_twice_is_safe(model: Exportable, draft: Draft, tmp_path: Path) -> None:
    engine = by_onnxruntime(model, draft, tmp_path)
    engine.close()
    engine.close()


def test_all_runners_are_registered_and_the_absent_say_so(tmp_path: Path) -> None:
    assert runner_names() == ["aot_inductor", "onnxruntime", "tensorrt", "tensorrt_rtx"]
    source = EngineSource(name="video", path=tmp_path / "video.plan", device="cuda")
    with pytest.raises(EngineError, match="tensorrt is not installed: pip install tensorrt"):
        load_engine("tensorrt", source)
    with pytest.raises(EngineError, match="tensorrt_rtx runs on NVIDIA GPUs, asked for cpu"):
        load_engine("tensorrt_rtx", EngineSource(name="video", path=source.path, device="cpu"))
    with pytest.raises(EngineError, match="runtime 'abacus' is not known"):
        load_engine("abacus", source)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "video.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"video: .*video\.onnx does not load"):
        load_engine("onnxruntime", EngineSource(name="video", path=path, device="cpu"))
