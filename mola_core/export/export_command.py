"""``mola export``: a checkpoint as graphs, compared with torch."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from mola_core.contracts.bundle import BundledLanguageRecord, Precision

_AUTO = "auto"


def register(subparsers: Any) -> None:
    """Add ``export``."""
    parser = subparsers.add_parser("export", help="a checkpoint as ONNX graphs and golden tensors: a draft of a bundle")
    parser.add_argument("checkpoint", type=Path, help="folder of a trained policy's checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the draft")
    parser.add_argument("--name", help="of the bundle (the recipe's)")
    parser.add_argument("--version", default="1", help="of the bundle (1)")
    parser.add_argument(
        "--language-weights",
        type=Path,
        metavar="FOLDER",
        help="of CLIP, for recipes that use it: the bundle takes it along",
    )
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="fp32", help="what graphs compute in (fp32)"
    )
    parser.add_argument(
        "--full-precision",
        metavar="PARTS",
        help="parts of the model, commas between, that compute in fp32 whatever the rest does; auto: find what parity asks for",
    )
    parser.add_argument("--action-steps", type=int, help="sampling steps of the head (the recipe's)")
    parser.add_argument("--video-steps", type=int, help="denoising steps of the imagination (the recipe's)")
    parser.add_argument(
        "--execute-steps",
        type=int,
        help="rows of a chunk that are executed before the next, as mola eval --execute-steps found best (the recipe's)",
    )
    parser.add_argument(
        "--halve-weights", action="store_true", help="round the weights to half precision: half the bytes"
    )
    parser.add_argument("--no-preview", action="store_true", help="leave out the graph that draws imagined frames")
    parser.add_argument(
        "--no-check", action="store_true", help="do not run the graphs here (too large for this machine)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.export.errors import ExportError  # noqa: PLC0415  # torch takes seconds to import
    from mola_core.export.exporting import ExportPlan, export_model  # noqa: PLC0415
    from mola_core.export.from_checkpoint import exportable_of, options_of  # noqa: PLC0415
    from mola_core.export.text_encoder import text_to_take  # noqa: PLC0415
    from mola_core.training.checkpoint import load_checkpoint  # noqa: PLC0415

    for name in ("action_steps", "video_steps"):
        value = getattr(arguments, name)
        if value is not None and not 1 <= value <= 100:
            raise ExportError(f"--{name.replace('_', '-')} {value} is outside 1..100")
    checkpoint = load_checkpoint(arguments.checkpoint)
    text = text_to_take(checkpoint.recipe.model.language, weights=arguments.language_weights)
    model = exportable_of(arguments.checkpoint, text=text)
    if arguments.execute_steps is not None:
        model = model.executing(arguments.execute_steps)
    acting = options_of(checkpoint)
    parts = [] if arguments.full_precision is None else arguments.full_precision.split(",")
    if parts and arguments.precision == "fp32":
        raise ExportError(
            f"--full-precision {arguments.full_precision}: all parts have it in fp32; give --precision fp16 or bf16"
        )
    options = replace(
        acting,
        precision=arguments.precision,
        full_precision=tuple(part for part in parts if part != _AUTO),
        action_steps=arguments.action_steps or acting.action_steps,
        video_steps=arguments.video_steps or acting.video_steps,
    )
    plan = ExportPlan(
        name=arguments.name or model.training["recipe"],
        version=arguments.version,
        options=options,
        preview=not arguments.no_preview,
        check=not arguments.no_check,
        halve_weights=arguments.halve_weights,
        find_full_precision=_AUTO in parts,
    )
    draft = export_model(model, arguments.out, plan=plan, say=_say)
    if arguments.json:
        from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415

        parity = {str(stage): record.model_dump() for stage, record in draft.manifest.builds[0].parity.items()}
        language = draft.manifest.language
        if isinstance(language, BundledLanguageRecord) and language.parity is not None:
            parity["language"] = language.parity.model_dump()
        print_json(measurement_report("export", {"draft": draft.path, "parity": parity}))
    else:
        _say(f"draft in {draft.path}; next: mola bundle make {draft.path}")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
