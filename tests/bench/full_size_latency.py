"""The full-size model with random weights on one GPU: every way to run it, in one call, a file that grows with every row.

    python tests/bench/full_size_latency.py --out latency.json

Needs the repository, PyTorch with CUDA, diffusers, pydantic, einops, jaxtyping, safetensors and onnx; no installation of the project.
Compiling comes last, so that a call cut short has everything before it.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from mola_core.cli.report import measurement_report, to_jsonable
from mola_core.export.exporting import Exportable
from mola_core.export.latency import LatencyRow, limits_of, measure
from mola_core.export.random_model import random_model
from mola_core.export.stages import DTYPES, StageOptions, stages_of
from mola_core.export.torch_engine import Mode
from mola_core.export.torch_policy import torch_policy
from mola_core.runtime.engine_policy import Identity

WAYS: tuple[tuple[str, Mode, bool, str], ...] = (
    ("naive", "eager", False, "fp16"),
    ("eager", "eager", True, "fp16"),
    ("graph", "graph", True, "fp16"),
    ("graph", "graph", True, "bf16"),
    ("compiled", "compiled", True, "fp16"),
    ("compiled", "compiled", True, "bf16"),
)
"""Name, how, whether the video network is left after the last tap, precision."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="full", choices=("full", "twin", "twin-tiny"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=480.0, help="begin no further row after so long")
    arguments = parser.parse_args()
    begin = time.monotonic()
    torch.backends.cudnn.benchmark = True
    rows: list[LatencyRow] = []
    model, precision, limits = random_model(arguments.recipe, device=arguments.device), "", {}
    for name, mode, truncated, wanted in WAYS:
        spent_s = time.monotonic() - begin
        if spent_s > arguments.seconds:
            print(f"{name} {wanted}: not begun, {spent_s:.0f} s are over", flush=True)
            continue
        if wanted != precision:
            precision = wanted
            cut = stages_of(model.mola, io=model.io, options=StageOptions(precision=precision))
            for module in cut.values():
                module.to(arguments.device)
            limits[precision] = asdict(limits_of(cut, device=arguments.device, dtype=DTYPES[precision]))
        try:
            row = one_row(
                model,
                name=name,
                mode=mode,
                options=StageOptions(precision=precision, truncated=truncated),
                arguments=arguments,
            )
        except Exception as error:  # noqa: BLE001  # a way that fails must not cost the others
            print(f"{name} {precision}: failed: {type(error).__name__}: {str(error)[:300]}", flush=True)
            continue
        rows.append(row)
        whole = row.stages["whole"]
        print(
            f"{row.way:<24} p50 {whole['p50']:.1f} p99 {whole['p99']:.1f} max {whole['max']:.1f} ms  "
            + "  ".join(f"{stage} {figures['p50']:.1f}" for stage, figures in row.stages.items() if stage != "whole")
            + f"  ({time.monotonic() - begin:.0f} s)",
            flush=True,
        )
        report = measurement_report("full size latency", {"rows": rows, "limits": limits, "recipe": arguments.recipe})
        arguments.out.write_text(json.dumps(to_jsonable(report), indent=2))
    return 0 if rows else 1


def one_row(
    model: Exportable, *, name: str, mode: Mode, options: StageOptions, arguments: argparse.Namespace
) -> LatencyRow:
    policy = torch_policy(
        model.mola,
        identity=Identity(bundle_id=name, io_spec=model.io),
        normalization=model.normalization,
        language=model.language,
        options=options,
        device=arguments.device,
        mode=mode,
        preview=False,
    )
    policy.warm()
    return measure(policy, way=f"{name} {options.precision}", runs=arguments.runs)


if __name__ == "__main__":
    sys.exit(main())
