"""``mola bundle make | verify | show | diff``."""

import argparse
from pathlib import Path
from typing import Any

from mola_core.contracts.bundle import (
    BundledLanguageRecord,
    BundleError,
    Manifest,
    differences,
    read_manifest,
    require_site,
    verify_files,
    why_not,
)
from mola_core.contracts.crossing import crossing_bytes, why_together

_ROOT = Path("models")


def register(subparsers: Any) -> None:
    """Add ``bundle`` and its sub-commands."""
    parser = subparsers.add_parser("bundle", help="make, verify, show and compare what a robot runs")
    commands = parser.add_subparsers(required=True, metavar="make|verify|show|diff")
    _add_make(commands)
    verify = commands.add_parser("verify", help="is every byte as it was made, and does it run here")
    verify.add_argument("bundle", type=Path)
    verify.add_argument("--site", type=Path, help="site file: does it fit the rig too")
    verify.add_argument("--self-test", action="store_true", help="run every engine on its golden inputs too")
    verify.set_defaults(run=_verify)
    show = commands.add_parser("show", help="what it is, where it came from, how close and how fast its engines are")
    show.add_argument("bundle", type=Path)
    show.add_argument("--json", action="store_true", help="the manifest itself")
    show.set_defaults(run=_show)
    diff = commands.add_parser("diff", help="where two bundles differ; exit status 1 where they do")
    diff.add_argument("first", type=Path)
    diff.add_argument("second", type=Path)
    diff.set_defaults(run=_diff)


def _add_make(commands: Any) -> None:
    make = commands.add_parser("make", help="seal a draft as models/NAME/VERSION")
    make.add_argument("draft", type=Path, help="what mola export left")
    make.add_argument("--root", type=Path, default=_ROOT, help=f"folder of all bundles ({_ROOT})")
    make.add_argument("--version", help="instead of the draft's own")
    make.add_argument("--no-measure", action="store_true", help="do not run and time the engines here")
    make.set_defaults(run=_make)


def _make(arguments: argparse.Namespace) -> int:
    from mola_core.export.bundle_making import make_bundle  # noqa: PLC0415  # help stays fast
    from mola_core.export.draft import read_draft  # noqa: PLC0415

    draft = read_draft(arguments.draft)
    made = make_bundle(draft, arguments.root, version=arguments.version, measure=not arguments.no_measure)
    print(made)  # noqa: T201  # the answer
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from mola_core.runtime.bundle_policy import OpenOptions, open_bundle_policy  # noqa: PLC0415  # help stays fast
    from mola_core.runtime.machine import this_machine  # noqa: PLC0415

    manifest = read_manifest(arguments.bundle)
    verify_files(arguments.bundle, manifest)
    if arguments.site is not None:
        from mola_core.contracts.site import load_site  # noqa: PLC0415

        require_site(manifest, load_site(arguments.site))
    machine = this_machine()
    reasons = {build.label: why_not(build, machine) for build in manifest.builds}
    for label, reason in reasons.items():
        print(f"{label:<32} {reason or 'runs here'}")  # noqa: T201  # the answer
    together = why_together(manifest)
    if together:
        print(f"note: {together}")  # noqa: T201  # the answer
    if all(reasons.values()):
        raise BundleError(f"bundle {manifest.bundle_id} is whole, but nothing in it runs here")
    if arguments.self_test:
        open_bundle_policy(arguments.bundle, OpenOptions(verify=False)).close()
    tested = ", self-test passed" if arguments.self_test else ""
    print(f"{manifest.bundle_id}: {len(manifest.files)} files as they were made{tested}")  # noqa: T201  # the answer
    return 0


def _show(arguments: argparse.Namespace) -> int:
    manifest = read_manifest(arguments.bundle)
    if arguments.json:
        print(manifest.model_dump_json(indent=2))  # noqa: T201  # the answer
    else:
        _print(manifest)
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    found = differences(read_manifest(arguments.first), read_manifest(arguments.second))
    for path, (first, second) in found.items():
        print(f"{path}: {first!r} -> {second!r}")  # noqa: T201  # the answer
    return 1 if found else 0


def _print(manifest: Manifest) -> None:
    from rich.console import Console  # noqa: PLC0415  # help stays fast
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    training, io = manifest.training, manifest.io
    console.print(f"[bold]{manifest.bundle_id}[/bold]  contract {manifest.contract_hash}")
    console.print(
        f"recipe {training.get('recipe')}, step {training.get('step')}, weights {str(training.get('weights_sha256'))[:16]}"
    )
    views = ", ".join(f"{view.camera} {view.width} x {view.height}" for view in io.views)
    period_ms = io.contract.period_ns / 1e6
    continued = f", up to {manifest.max_settled} settled ones continued" if manifest.max_settled else ""
    console.print(
        f"sees {views}; {io.horizon} rows of {period_ms:g} ms, of which {io.execute_steps} are executed{continued}"
    )
    brought = ", which it brings along" if isinstance(manifest.language, BundledLanguageRecord) else ""
    modalities = ", ".join(manifest.modalities) or "none"
    console.print(f"modalities {modalities}; sentences by {manifest.language.encoder}{brought}")
    crossing = ", ".join(manifest.passes_on)
    console.print(f"the imagination hands {crossing} to the policy, {crossing_bytes(manifest) / 1e6:.2f} MB")
    table = Table()
    for heading in ("engine", "stage", "parameters", "cosine", "largest difference", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading in {"engine", "stage"} else "right")
    for build in manifest.builds:
        if not build.parity and not build.latency:
            table.add_row(build.label, "all, never run here", *"-----")
            continue
        for stage in build.files:
            parity, latency = build.parity.get(stage), build.latency.get(stage)
            table.add_row(
                build.label,
                stage,
                f"{manifest.stages[stage].num_parameters / 1e6:.2f} M",
                f"{parity.cosine:.6f}" if parity else "-",
                f"{parity.max_abs:.1e}" if parity else "-",
                f"{latency.p50_ms:.1f}" if latency else "-",
                f"{latency.p99_ms:.1f}" if latency else "-",
            )
    console.print(table)
