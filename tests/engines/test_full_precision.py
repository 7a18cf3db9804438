"""Parts that keep full precision where the rest computes in less: named, found by what parity asks for, and in the graphs."""

import copy
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from mola_core.cli.dispatch import main
from mola_core.export.draft import read_draft
from mola_core.export.errors import ExportError
from mola_core.export.exporting import Exportable, ExportPlan, export_model
from mola_core.export.full_precision import narrow
from mola_core.export.precision_search import parts_to_keep
from mola_core.export.reference import golden_of
from mola_core.export.stages import StageModule, StageOptions, stages_of
from mola_core.export.torch_engine import TorchEngine
from mola_core.nets.config import CodebookConfig, IdmConfig
from mola_core.nets.idm import Idm
from mola_core.runtime import golden as goldens
from mola_core.runtime.golden import Tolerance
from mola_core.runtime.stages import Stage


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_a_part_computes_in_full_precision_and_nobody_outside_notices() -> None:
    torch.manual_seed(0)
    whole, x = Pair(), torch.randn(4, 64)
    low, mixed = (copy.deepcopy(whole) for _ in range(2))
    narrow(low, torch.bfloat16)
    narrow(mixed, torch.bfloat16, keep=["first"])
    inside: list[torch.Tensor] = []
    mixed.first.register_forward_pre_hook(lambda _part, given: inside.append(given[0]))
    out = mixed(x.bfloat16())
    assert out.dtype == torch.bfloat16
    assert inside[0].dtype == torch.float32
    assert torch.equal(mixed.first.weight, whole.first.weight)
    assert mixed.second.weight.dtype == torch.bfloat16
    with torch.no_grad():
        expected = low.second(mixed.first.forward(x.bfloat16().float()).bfloat16())
    assert torch.equal(out, expected)
    assert not torch.equal(out, low(x.bfloat16()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_half_precision_would_round_away_keeps_its_digits(dtype: torch.dtype) -> None:
    """Vectors that differ from picture to picture in the third digit only, and are told apart by standardising them."""
    torch.manual_seed(0)
    codebook = CodebookConfig(size=8, width=4, standardised=True)
    config = IdmConfig(num_queries=2, layers=1, width=16, heads=2, mlp_width=16, codebook=codebook)
    whole = Idm(config, token_width=16, num_tokens=3).eval()
    assert whole.standard is not None
    whole.standard.running_var.fill_(1e-9)  # less than the smallest half
    low = copy.deepcopy(whole)
    narrow(low, dtype)
    assert low.transformer.enter.weight.dtype == dtype
    for name in ("down", "standard", "codebook"):
        for key, value in low.get_submodule(name).state_dict().items():
            assert torch.equal(value, whole.get_submodule(name).state_dict()[key])
    now, future = torch.randn(2, 5, 3, 16).to(dtype)
    told = low(now, future)
    assert told.embeddings.dtype == dtype
    assert bool(told.embeddings.isfinite().all())


def test_bf16_is_not_compared_by_a_runtime_that_has_none() -> None:
    options = StageOptions(precision="bf16")
    with pytest.raises(ExportError, match=r"bf16 cannot be compared with torch here: .* give --no-check"):
        ExportPlan(name="micro", version="1", options=options)
    assert ExportPlan(name="micro", version="1", options=options, check=False).options == options


def test_parts_that_are_not_there_or_twice_are_refused() -> None:
    with pytest.raises(ExportError, match="has no part 'third'; its parts begin with first, second"):
        narrow(Pair(), torch.float16, keep=["third"])
    nested = nn.Sequential(Pair())
    with pytest.raises(ExportError, match=r"0\.first is a part of 0, which keeps full precision already"):
        narrow(nested, torch.float16, keep=["0", "0.first"])


def cut_of(model: Exportable, options: StageOptions):
    def cut(names: tuple[str, ...]) -> dict[Stage, StageModule]:
        stages = stages_of(copy.deepcopy(model.mola), io=model.io, options=replace(options, full_precision=names))
        return {"video": stages["video"]}

    return cut


def test_what_parity_asks_for_is_found(model: Exportable, monkeypatch: pytest.MonkeyPatch) -> None:
    options = StageOptions(precision="bf16")
    reference = stages_of(copy.deepcopy(model.mola), io=model.io, options=StageOptions())
    golden = [golden_of(reference, language=model.language, seed=0)]
    lines: list[str] = []
    cut = cut_of(model, options)
    assert parts_to_keep(cut, golden, say=lines.append) == ()
    assert lines == []
    base = goldens.parity_of(TorchEngine(cut(())["video"]), golden[0]["video"])
    strict = Tolerance(cosine=1 - 0.93 * (1 - base.cosine), max_abs=1.0)  # a little better than bf16 throughout
    monkeypatch.setitem(goldens.TOLERANCES, "bf16", strict)
    kept = parts_to_keep(cut, golden, say=lines.append)
    assert kept
    assert len(lines) >= len(kept)
    assert all("keeps full precision" in line for line in lines)
    monkeypatch.setitem(goldens.TOLERANCES, "bf16", Tolerance(cosine=1.1, max_abs=0.0))
    with pytest.raises(ExportError, match="no part of it in full precision makes that better; export in fp32"):
        parts_to_keep(cut, golden, say=lines.append)


def test_graphs_hold_the_parts_as_they_compute(model: Exportable, tmp_path: Path) -> None:
    parts = ("backbone.middle.0", "head.transformer.encoder")
    options = StageOptions(precision="fp16", full_precision=parts)
    plan = ExportPlan(name="micro", version="1", options=options)
    draft = export_model(replace(model, mola=copy.deepcopy(model.mola)), tmp_path / "draft", plan=plan)
    assert read_draft(draft.path).manifest.training["export"]["full_precision"] == list(parts)
    graph = onnx.load(str(draft.path / "onnx" / "video.onnx"), load_external_data=False).graph
    types = {tensor.data_type for tensor in graph.initializer}
    assert types >= {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}


def test_full_precision_of_all_in_fp32_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Path(__file__).parents[2] / "models" / "twin-checkpoint"
    out = tmp_path / "draft"
    assert main(["export", str(checkpoint), "--out", str(out), "--full-precision", "head"]) == 2
    assert "all parts have it in fp32; give --precision fp16 or bf16" in capsys.readouterr().err
    assert not out.exists()
