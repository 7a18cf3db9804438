"""Every runner must pass what the others pass: same inputs, same outputs, same refusals, and results that are the caller's.

On a rig, ``python -m pytest -rs tests/engines/test_engine_conformance.py`` says of each runner whether it does there what it should,
or what it lacks.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from runners import MAKERS, Maker, Workshop, onnxruntime_cpu

from mola_core.export.draft import Draft
from mola_core.export.exporting import Exportable
from mola_core.runtime import stages
from mola_core.runtime.bundle_policy import golden_path
from mola_core.runtime.engines.loading import EngineSource, load_engine, runner_names
from mola_core.runtime.engines.protocol import Engine, EngineError
from mola_core.runtime.golden import TOLERANCES, Golden, parity_of, read_golden
from mola_core.runtime.tensors import RuntimeInputError, finish, on_host


@pytest.fixture(scope="module", params=MAKERS)
def engines(
    request: pytest.FixtureRequest, model: Exportable, draft: Draft, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Engine]]:
    """Encoder and video network, warm."""
    make: Maker = request.param
    with pytest.MonkeyPatch.context() as monkeypatch:
        workshop = Workshop(model, draft, tmp_path_factory.mktemp("engine"), monkeypatch)
        with make(workshop, "encoder") as encoder, make(workshop, "video") as video:
            for each in (encoder, video):
                each.warm()
            yield encoder, video


@pytest.fixture(scope="module")
def engine(engines: tuple[Engine, Engine]) -> Engine:
    """The video network's."""
    return engines[1]


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


def with_other_noise(golden: Golden) -> dict[str, np.ndarray]:
    return dict(golden.inputs) | {"video_noise": golden.inputs["video_noise"][:, ::-1].copy()}


def test_equal_inputs_give_equal_outputs_and_others_do_not(engine: Engine, golden: Golden) -> None:
    first = {name: on_host(tensor).copy() for name, tensor in engine.run(golden.inputs).items()}
    changed = on_host(engine.run(with_other_noise(golden))["features"]).copy()
    again = engine.run(golden.inputs)
    for name, values in first.items():
        np.testing.assert_array_equal(values, on_host(again[name]))
    assert not np.allclose(first["features"], changed)


def test_what_it_gave_is_not_written_to_again(engine: Engine, golden: Golden) -> None:
    kept = engine.run(golden.inputs)
    values = {name: on_host(tensor).copy() for name, tensor in kept.items()}
    for _ in range(3):
        finish(engine.run(with_other_noise(golden)))
    for name, tensor in kept.items():
        np.testing.assert_array_equal(on_host(tensor), values[name])


def test_what_it_was_given_may_be_changed_at_once(engine: Engine, golden: Golden) -> None:
    expected = on_host(engine.run(golden.inputs)["features"])
    given = {name: array.copy() for name, array in golden.inputs.items()}
    result = engine.run(given)
    for array in given.values():
        array[...] = 0
    np.testing.assert_array_equal(on_host(result["features"]), expected)


def test_engines_in_a_row_do_as_by_way_of_the_host(engines: tuple[Engine, Engine], golden: Golden) -> None:
    encoder, video = engines
    words = {name: array for name, array in golden.inputs.items() if name != stages.PRESENT}
    shape = encoder.inputs[0].shape
    pictures = [np.full(shape, level, np.uint8) for level in (20, 200)]
    straight = [
        video.run(words | {stages.PRESENT: encoder.run({stages.IMAGES: seen})[stages.PRESENT]}) for seen in pictures
    ]
    finish(straight[-1])
    for seen, result in zip(pictures, straight, strict=True):
        present = on_host(encoder.run({stages.IMAGES: seen})[stages.PRESENT])
        expected = on_host(video.run(words | {stages.PRESENT: present})[stages.FEATURES])
        np.testing.assert_array_equal(on_host(result[stages.FEATURES]), expected)
    assert not np.allclose(*(on_host(result[stages.FEATURES]) for result in straight))


def test_it_refuses_names_shapes_and_types_it_does_not_declare(engine: Engine, golden: Golden) -> None:
    inputs = dict(golden.inputs)
    with pytest.raises(RuntimeInputError, match=r"missing \['present'\], unknown \['past'\]"):
        engine.run({("past" if name == "present" else name): array for name, array in inputs.items()})
    with pytest.raises(RuntimeInputError, match="present has shape"):
        engine.run(inputs | {"present": inputs["present"][:1]})
    with pytest.raises(RuntimeInputError, match="present is float64, expected float32"):
        engine.run(inputs | {"present": inputs["present"].astype(np.float64)})


def test_closing_twice_is_safe_and_ends_it(
    model: Exportable, draft: Draft, tmp_path: Path, monkeypatch, golden
) -> None:
    engine = onnxruntime_cpu(Workshop(model, draft, tmp_path, monkeypatch), "video")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="engine video is closed"):
        engine.run(golden.inputs)


def test_all_runners_are_registered_and_the_absent_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner_names() == ["aot_inductor", "onnxruntime", "tensorrt", "tensorrt_rtx"]
    monkeypatch.setitem(sys.modules, "tensorrt", None)
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
