"""``mola engine build``: graphs of a draft or bundle compiled for one runtime and architecture."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from mola_core.contracts.bundle import Precision, Runtime, Stage

if TYPE_CHECKING:
    from mola_core.export.stages import StageModule

_READS_NO_GRAPHS: Runtime = "aot_inductor"


def register(subparsers: Any) -> None:
    """Add ``build`` to ``engine``."""
    parser = subparsers.add_parser("build", help="compile a bundle's graphs for one runtime and GPU architecture")
    parser.add_argument("bundle", type=Path, help="folder of a draft, or of a bundle (which gives a new version of it)")
    compiled = [name for name in get_args(Runtime) if name != "onnxruntime"]
    parser.add_argument("--runtime", required=True, choices=compiled, help="what will run the engines")
    parser.add_argument("--arch", required=True, help="sm_89 (RTX 4090), sm_90 (H100, H200), … or cpu")
    parser.add_argument("--version", help="of the new bundle (the old one's, with runtime and architecture behind a +)")
    parser.add_argument(
        "--checkpoint", type=Path, help=f"what the bundle was made from; for {_READS_NO_GRAPHS}, which reads no graphs"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.export import compiling  # noqa: PLC0415  # help stays fast
    from mola_core.export.draft import read_draft  # noqa: PLC0415

    path: Path = arguments.bundle
    compiling.open_compiler(arguments.runtime)  # what is not installed is said before a checkpoint is read
    modules = _modules(arguments, path) if arguments.checkpoint is not None else None
    if compiling.is_draft(path):
        draft = read_draft(path)
        compiling.add_engines(draft, runtime=arguments.runtime, arch=arguments.arch, modules=modules, say=_say)
        _say(f"engines added to {path}; next: mola bundle make {path}")
        return 0
    made = compiling.add_engines_to_bundle(
        path, runtime=arguments.runtime, arch=arguments.arch, version=arguments.version, modules=modules, say=_say
    )
    _say(f"made {made}")
    return 0


def _modules(arguments: argparse.Namespace, bundle: Path) -> "dict[Stage, StageModule]":
    """The stages in torch; refused unless they are wanted, and the bundle was made from just these weights."""
    from mola_core.contracts.bundle import read_manifest  # noqa: PLC0415  # help stays fast
    from mola_core.export.compiling import is_draft  # noqa: PLC0415
    from mola_core.export.draft import read_draft  # noqa: PLC0415
    from mola_core.export.errors import ExportError  # noqa: PLC0415

    checkpoint: Path = arguments.checkpoint
    if arguments.runtime != _READS_NO_GRAPHS:
        raise ExportError(
            f"--checkpoint {checkpoint} is for --runtime {_READS_NO_GRAPHS}; {arguments.runtime} reads the bundle's graphs: "
            "leave the option out"
        )
    from mola_core.export.exporting import rounded  # noqa: PLC0415  # torch takes seconds to import
    from mola_core.export.stages import StageOptions, stages_of  # noqa: PLC0415
    from mola_core.training.checkpoint import load_policy_modules  # noqa: PLC0415

    manifest = read_draft(bundle).manifest if is_draft(bundle) else read_manifest(bundle)
    mola, said_by = load_policy_modules(checkpoint)
    ours, theirs = said_by.digest, manifest.training.get("weights_sha256")
    if ours != theirs:
        raise ExportError(f"{checkpoint} has weights {ours[:16]}, {bundle} was made from {str(theirs)[:16]}")
    precision: Precision = manifest.builds[-1].precision
    said = manifest.training["export"]
    if said["halve_weights"]:
        mola = rounded(mola)
    options = StageOptions(
        precision=precision,
        action_steps=said["action_steps"],
        video_steps=said["video_steps"],
        full_precision=tuple(said.get("full_precision", ())),  # bundles of before have none
    )
    cut = stages_of(mola, io=said_by.recipe.io, options=options)
    return {stage: module for stage, module in cut.items() if stage in manifest.stages}


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
