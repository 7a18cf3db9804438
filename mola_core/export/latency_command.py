"""``mola bench latency``: a policy's decision, stage by stage, ways to run it side by side in one run."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from mola_core.contracts.bundle import Precision
from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_core.export.exporting import Exportable
    from mola_core.export.latency import LatencyRow
    from mola_core.export.limits import Limits

WAYS = ("untruncated", "eager", "graph", "compiled", "engines")
"""Our own model by torch: with all of the video network, though nothing after the taps is read; up to the taps; that as one CUDA
graph; that compiled. And a bundle's engines."""
_RECIPES = ("twin", "twin-tiny", "full")


def register(subparsers: Any) -> None:
    """Add ``latency`` to ``bench``."""
    parser = subparsers.add_parser("latency", help="a policy's decision by stage, engines beside torch")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkpoint", type=Path, help="a trained policy, for the rows that torch runs")
    what.add_argument("--recipe", choices=_RECIPES, help="the same with random weights")
    what.add_argument("--only-bundle", action="store_true", help="engines alone; nothing is run by torch")
    parser.add_argument("--bundle", type=Path, help="for the row of engines")
    parser.add_argument(
        "--language-weights", type=Path, metavar="FOLDER", help="of CLIP or UMT5, for a checkpoint whose recipe uses it"
    )
    parser.add_argument("--ways", help=f"which rows, with commas: {', '.join(WAYS)} (all that can be run)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the rows that torch runs (cpu)")
    parser.add_argument("--precision", choices=get_args(Precision), help="of torch (fp32 on cpu, fp16 on cuda)")
    parser.add_argument("--runs", type=int, default=100, help="decisions a row (100)")
    parser.add_argument("--threads", type=int, default=0, help="of CPU rows; 0 leaves the choice to each runtime (0)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    ways = _ways(arguments)
    # read when torch loads: idle OpenMP threads would spin on the cores that are measured
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    rows: list[LatencyRow] = []
    limits: Limits | None = None
    if arguments.only_bundle is False:
        from mola_core.export.limits import limits_of  # noqa: PLC0415  # torch takes seconds to import
        from mola_core.export.stages import DTYPES, StageOptions, stages_of  # noqa: PLC0415

        usual: Precision = "fp32" if arguments.device == "cpu" else "fp16"
        precision: Precision = arguments.precision or usual
        model = _model(arguments)
        rows += _torch_rows(arguments, model, ways=ways, precision=precision)
        cut = stages_of(model.mola, io=model.io, options=StageOptions(precision=precision))
        limits = limits_of(cut, device=arguments.device, dtype=DTYPES[precision], threads=arguments.threads)
    if "engines" in ways:
        rows.append(_engine_row(arguments))
    _report(arguments, rows, limits=limits)
    return 0


def _ways(arguments: argparse.Namespace) -> tuple[str, ...]:
    if not 1 <= arguments.runs <= 100_000:
        raise ConfigError(f"--runs {arguments.runs} is outside 1..100000")
    if arguments.language_weights is not None and arguments.checkpoint is None:
        raise ConfigError(
            f"--language-weights {arguments.language_weights} goes with --checkpoint: a bundle brings its own sentence encoder, "
            "and --recipe needs none; leave the option out"
        )
    possible = [way for way in WAYS if way != "graph" or arguments.device == "cuda"]
    if arguments.bundle is None:
        possible.remove("engines")
    if arguments.only_bundle:
        if arguments.bundle is None:
            raise ConfigError("--only-bundle needs --bundle")
        possible = ["engines"]
    asked = tuple(possible) if arguments.ways is None else tuple(way.strip() for way in arguments.ways.split(","))
    for way in asked:
        if way not in possible:
            raise ConfigError(f"--ways {way!r} cannot be run so; possible here: {', '.join(possible)}")
    return asked


def _model(arguments: argparse.Namespace) -> "Exportable":
    import torch  # noqa: PLC0415  # as above

    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no GPU here")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.checkpoint is not None:
        from mola_core.export.from_checkpoint import exportable_of  # noqa: PLC0415

        return exportable_of(arguments.checkpoint, language_weights=arguments.language_weights)
    from mola_core.export.random_model import random_model  # noqa: PLC0415

    return random_model(arguments.recipe, device=arguments.device)


def _torch_rows(
    arguments: argparse.Namespace, model: "Exportable", *, ways: Sequence[str], precision: Precision
) -> "Iterator[LatencyRow]":
    from mola_core.export.latency import measure_torch  # noqa: PLC0415
    from mola_core.export.stages import StageOptions  # noqa: PLC0415
    from mola_core.export.torch_engine import Mode  # noqa: PLC0415
    from mola_core.export.torch_policy import torch_policy  # noqa: PLC0415
    from mola_core.runtime.engine_policy import Identity  # noqa: PLC0415

    modes: dict[str, Mode] = {"untruncated": "eager", "eager": "eager", "graph": "graph", "compiled": "compiled"}
    for way in ways:
        if way not in modes:
            continue
        sys.stderr.write(f"{way} …\n")
        policy = torch_policy(
            model.mola,
            identity=Identity(bundle_id=way, io_spec=model.io),
            normalization=model.normalization,
            language=model.language,
            options=StageOptions(precision=precision, truncated=way != "untruncated"),
            device=arguments.device,
            mode=modes[way],
            preview=False,
        )
        policy.warm()
        yield measure_torch(policy, way=f"torch {way} {precision} {arguments.device}", runs=arguments.runs)
        policy.close()


def _engine_row(arguments: argparse.Namespace) -> "LatencyRow":
    from mola_core.export.latency import measure  # noqa: PLC0415
    from mola_core.runtime.bundle_policy import OpenOptions, open_bundle_policy  # noqa: PLC0415

    sys.stderr.write("engines …\n")
    options = OpenOptions(threads=arguments.threads, preview=False)
    with open_bundle_policy(arguments.bundle, options) as policy:
        return measure(policy, way=policy.bundle.build.label, runs=arguments.runs)


def _report(arguments: argparse.Namespace, rows: "Sequence[LatencyRow]", *, limits: "Limits | None") -> None:
    reference = rows[0].whole_p50_ms
    ratios = {row.way: reference / row.whole_p50_ms for row in rows}
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415

        figures: dict[str, Any] = {"rows": rows, "faster_than_first_row": ratios}
        if limits is not None:
            figures |= {
                "tflop": limits.tflop,
                "tflop_per_s": limits.rate.tflop_per_s,
                "rate_of": limits.rate.kernel,
                "limit_ms": limits.limit_ms,
            }
        print_json(measurement_report("bench latency", figures))
        return
    _print_table(rows, ratios=ratios, limits=limits)


def _print_table(rows: "Sequence[LatencyRow]", *, ratios: dict[str, float], limits: "Limits | None") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="one decision, ms: p50 / p99 / max")
    names = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    for heading in ("way", *names, "× first row"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for row in rows:
        cells = (row.stages.get(name) for name in names)
        told = ("-" if cell is None else f"{cell['p50']:.1f} / {cell['p99']:.1f} / {cell['max']:.1f}" for cell in cells)
        table.add_row(row.way, *told, f"{ratios[row.way]:.2f}")
    if limits is not None:
        bounds = limits.limit_ms
        told = (f"{bounds[name]:.2f}" if name in bounds else "-" for name in names)
        table.add_row("limit", *told, "")
        speed = f"{limits.rate.tflop_per_s:.3g} TFLOP/s"
        table.caption = (
            f"limit: the arithmetic alone at {speed}, the best of several kernels here ({limits.rate.kernel})"
        )
    Console().print(table)
