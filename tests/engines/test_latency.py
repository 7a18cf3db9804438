"""The bench prints a row for each way of running the policy, and never what cannot be run."""

import json
from pathlib import Path

import pytest
import torch

from mola_core.cli import main
from mola_core.export import kernel_rates
from mola_core.export.exporting import Exportable
from mola_core.export.kernel_rates import KernelRate
from mola_core.export.latency import LatencyRow
from mola_core.export.limits import Limits, limits_of, tflop_of
from mola_core.export.stages import StageOptions, stages_of


def test_engines_alone_need_no_torch_model(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "latency", "--only-bundle", "--bundle", str(bundle), "--runs", "5", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    (row,) = figures["rows"]
    assert row["way"] == "onnxruntime fp32 cpu"
    assert set(row["stages"]) == {"encoder", "video", "actor", "whole"}
    parts = sum(row["stages"][stage]["p50"] for stage in ("encoder", "video", "actor"))
    assert parts < row["stages"]["whole"]["max"]
    assert row["stages"]["whole"]["count"] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only-bundle"], "--only-bundle needs --bundle"),
        (
            ["--recipe", "twin-tiny", "--ways", "engines"],
            "--ways 'engines' cannot be run so; possible here: untruncated, eager",
        ),
        (["--recipe", "twin-tiny", "--ways", "graph"], "--ways 'graph' cannot be run so"),
        (["--recipe", "twin-tiny", "--language-weights", "clip"], "--language-weights clip goes with --checkpoint"),
        (["--only-bundle", "--bundle", "x", "--language-weights", "clip"], "a bundle brings its own sentence encoder"),
        (["--recipe", "twin-tiny", "--runs", "0"], "--runs 0 is outside 1..100000"),
        (["--recipe", "twin-tiny", "--device", "cuda"], "torch finds no GPU here"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "latency", *words]) == 2
    assert said in capsys.readouterr().err


def test_work_is_counted_and_the_truncated_network_does_less(model: Exportable) -> None:
    cut, whole = (
        stages_of(model.mola, io=model.io, options=StageOptions(truncated=truncated))["video"]
        for truncated in (True, False)
    )
    assert 0 < tflop_of(cut, device="cpu") <= tflop_of(whole, device="cpu")
    limits = Limits(rate=KernelRate("x", 2.0), tflop={"encoder": 0.5, "video": 1.0})
    assert limits.limit_ms == {"encoder": 250.0, "video": 500.0, "whole": 750.0}
    assert LatencyRow(way="x", stages={"whole": {"p50": 3.0}}).whole_p50_ms == 3.0


def test_the_limit_rests_on_the_fastest_kernel_of_either_runtime(
    model: Exportable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds are given out in the order in which kernels are tried; each is the fastest once."""
    cut = stages_of(model.mola, io=model.io, options=StageOptions())
    kernels = ["torch matrix product", "torch convolution", "onnxruntime matrix product", "onnxruntime convolution"]
    for fastest in range(len(kernels)):
        seconds = iter(1e-6 if index == fastest else 1.0 for index in range(len(kernels)))

        def timed(work, *, finish=None, seconds=seconds) -> float:
            work()
            return next(seconds)

        monkeypatch.setattr(kernel_rates, "_best_s", timed)
        limits = limits_of(cut, device="cpu", dtype=torch.float32, threads=1)
        assert limits.rate.kernel == kernels[fastest]
        assert limits.limit_ms["video"] == pytest.approx(1e3 * limits.tflop["video"] / limits.rate.tflop_per_s)


def test_the_table_says_what_its_limit_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--recipe", "twin-tiny", "--ways", "untruncated", "--runs", "1", "--threads", "1"]
    assert main(["bench", "latency", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the arithmetic alone at" in said
    assert main(["bench", "latency", *words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["rows"][0]["way"] == "torch untruncated fp32 cpu"
    assert figures["rate_of"].split()[0] in {"torch", "onnxruntime"}
    assert figures["limit_ms"]["whole"] > 0
