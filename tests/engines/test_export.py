"""Graphs hold each weight once and nothing of the machine they were made on; what does not come out right is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mola_core.contracts.bundle import BundleError, ParityRecord, read_manifest
from mola_core.export.draft import Draft, fresh_folder, read_draft
from mola_core.export.errors import ExportError
from mola_core.export.exporting import Exportable
from mola_core.export.stages import StageOptions, passes_on, stages_of
from mola_core.export.weights_file import WEIGHTS, share_weights
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.golden import require_parity


def test_the_draft_says_what_the_bundle_will(draft: Draft, bundle: Path) -> None:
    said = read_draft(draft.path).manifest
    made = read_manifest(bundle)
    assert said.stages == made.stages
    assert said.passes_on == ("features",)
    assert said.training["export"]["halve_weights"] is False
    assert made.files.keys() >= {f"onnx/{stage}.onnx" for stage in made.stages} | {f"onnx/{WEIGHTS}"}


def test_graphs_know_nothing_of_where_they_were_made(draft: Draft) -> None:
    repository = str(Path(__file__).parents[2]).encode()
    for path in (draft.path / "onnx").iterdir():
        content = path.read_bytes()
        assert repository not in content
        assert b".py" not in content


def test_the_preview_shares_its_weights_with_the_control_path(draft: Draft, model: Exportable) -> None:
    backbone = model.mola.backbone
    assert backbone is not None
    total = sum(parameter.numel() for parameter in model.mola.parameters())
    shared = sum(parameter.numel() for parameter in backbone.parameters())
    stored = (draft.path / "onnx" / WEIGHTS).stat().st_size / 4
    assert stored < total + 0.5 * shared, "held twice it would be total + shared"


def graph(path: Path, weights: np.ndarray) -> Path:
    """y = x * weights."""
    shape = list(weights.shape)
    value = helper.make_tensor_value_info
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    made = helper.make_graph(
        [node],
        "scale",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("exact_in_half", [True, False])
def test_weights_are_stored_once_and_small_where_nothing_is_lost(tmp_path: Path, exact_in_half: bool) -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((64, 64), dtype=np.float32)
    if exact_in_half:
        weights = weights.astype(np.float16).astype(np.float32)
    paths = [graph(tmp_path / f"{name}.onnx", weights) for name in ("first", "second")]
    share_weights(paths)
    size = (tmp_path / WEIGHTS).stat().st_size
    assert size == weights.size * (2 if exact_in_half else 4)
    x = rng.standard_normal((64, 64), dtype=np.float32)
    for path in paths:
        with load_engine("onnxruntime", EngineSource(name=path.stem, path=path, device="cpu")) as engine:
            np.testing.assert_array_equal(engine.run({"x": x})["y"], x * weights)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="is not empty and holds no draft; choose another --out"):
        fresh_folder(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(ExportError, match=r"holds no draft\.json; make one with: mola export"):
        read_draft(tmp_path)


def test_a_model_that_is_not_for_its_io_spec_is_refused(model: Exportable) -> None:
    other = model.io.model_copy(update={"horizon": 4})
    with pytest.raises(ExportError, match="2 cameras and 6 rows, its IoSpec 2 and 4"):
        stages_of(model.mola, io=other, options=StageOptions())
    odd = model.io.views[0].model_copy(update={"width": 48})
    with pytest.raises(ExportError, match="views of different sizes do not stack"):
        stages_of(
            model.mola, io=model.io.model_copy(update={"views": (odd, model.io.views[1])}), options=StageOptions()
        )


def test_graphs_far_from_torch_are_refused() -> None:
    good = ParityRecord(cosine=0.9995, max_abs=0.05, codes_equal=False)
    require_parity(good, precision="fp16", what="video")
    with pytest.raises(BundleError, match=r"video fails its self-test: cosine 0\.999500 \(at least 0\.99999\)"):
        require_parity(good, precision="fp32", what="video")
    with pytest.raises(BundleError, match="largest difference"):
        require_parity(good.model_copy(update={"max_abs": 0.5}), precision="bf16", what="video")


def test_other_shapes_of_policy_have_the_stages_they_need(model: Exportable) -> None:
    from micro_model import micro_config  # noqa: PLC0415

    from mola_core.nets.config import ImageEncoderConfig  # noqa: PLC0415
    from mola_core.nets.mola import build_mola  # noqa: PLC0415

    config = micro_config()
    plain = config.model_copy(update={"mixture": None})
    cut = stages_of(build_mola(plain), io=model.io, options=StageOptions())
    assert passes_on(cut) == ("features",)
    assert "modality_gains" not in {spec.name for spec in cut["actor"].inputs}
    own_eyes = ImageEncoderConfig(height=16, width=32, widths=(8, 8), token_width=16)
    direct = plain.model_copy(update={"backbone": None, "visual": own_eyes})
    cut = stages_of(build_mola(direct), io=model.io, options=StageOptions())
    assert set(cut) == {"actor"}
    assert passes_on(cut) == ("images",)


def test_half_precision_hands_features_on_in_half(model: Exportable) -> None:
    import copy  # noqa: PLC0415

    cut = stages_of(copy.deepcopy(model.mola), io=model.io, options=StageOptions(precision="bf16"))
    features = next(spec for spec in cut["actor"].inputs if spec.name == "features")
    assert features.dtype == "float16"
