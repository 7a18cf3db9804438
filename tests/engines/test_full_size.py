"""The paper's video network, up to the taps, as one graph in half precision: it exports, whole and with fixed shapes."""

import tempfile
from pathlib import Path

import onnx
import pytest
import torch

from mola_core.export.onnx import export_stage, num_parameters
from mola_core.export.stages import StageOptions, stages_of
from mola_core.export.weights_file import WEIGHTS, share_weights
from mola_core.nets.mola import build_mola
from mola_core.runtime.engines.checks import zeros
from mola_core.training.recipes.full import full


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_truncated_video_network_exports_at_full_size() -> None:
    """Minutes, 10 GB of memory and 7 GB of disk; the weights are random and in half precision from the start."""
    recipe = full()
    torch.set_default_dtype(torch.float16)
    try:
        mola = build_mola(recipe.model)
    finally:
        torch.set_default_dtype(torch.float32)
    module = stages_of(mola, io=recipe.io, options=StageOptions(precision="fp16"))["video"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.onnx"
        export_stage(module, path, example=zeros(module.inputs))
        share_weights([path])
        graph = onnx.load(path, load_external_data=False).graph
        assert [node.name for node in graph.input] == [spec.name for spec in module.inputs]
        (features,) = graph.output
        assert [size.dim_value for size in features.type.tensor_type.shape.dim] == [2, 16, 2560, 16, 16]
        parameters = num_parameters(path)
        stored = (Path(folder) / WEIGHTS).stat().st_size
    assert 0.8e9 < parameters < 1.53e9, "what comes after the last tap is left out"
    assert stored == pytest.approx(2 * parameters, rel=0.02)
