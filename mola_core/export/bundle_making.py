"""From a draft to a bundle: measured, hashed, checked, and there all at once or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mola_core.cli.report import machine_facts
from mola_core.contracts.bundle import (
    MANIFEST,
    BuildRecord,
    BundledLanguageRecord,
    BundleError,
    LatencyRecord,
    Manifest,
    digest_of,
    read_manifest,
    verify_files,
    why_not,
)
from mola_core.export.draft import DRAFT, Draft
from mola_core.runtime.bundle_policy import OpenedBundle, OpenOptions, golden_path, load_stage
from mola_core.runtime.engines.protocol import Engine
from mola_core.runtime.golden import Arrays, read_golden
from mola_core.runtime.machine import this_machine
from mola_core.runtime.pass_times import pass_times_ms

_READ_ONLY = 0o444
_RUNS = 30


def make_bundle(draft: Draft, root: Path, *, version: str | None = None, measure: bool = True) -> Path:
    """Seal ``draft`` as ``root/name/version``; the draft stays as it is.

    With ``measure``, every build that runs here is timed on its golden inputs.

    Raises:
        BundleError: that version exists already, the draft has lost a file, or an engine fails its self-test.
    """
    manifest = draft.manifest if version is None else draft.manifest.model_copy(update={"version": version})
    target = root / manifest.name / manifest.version
    if target.exists():
        raise BundleError(f"{target} exists; bundles never change: choose another --version")
    _require_language(draft)
    with _partial(target) as folder:
        _copy(draft.path, folder)
        if measure:
            builds = tuple(_measured(build, folder, manifest) for build in manifest.builds)
            manifest = manifest.model_copy(update={"builds": builds})
        files = {str(path.relative_to(folder)): digest_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        manifest = Manifest.model_validate(manifest.model_dump() | {"files": files})
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _make_durable(folder)
        verify_files(folder, read_manifest(folder))
    return target


def _require_language(draft: Draft) -> None:
    language = draft.manifest.language
    if not isinstance(language, BundledLanguageRecord):
        return
    for name in (language.graph, language.tokenizer, language.golden):
        if not (draft.path / name).is_file():
            raise BundleError(f"draft {draft.path} has no {name}, of the sentence encoder; export the checkpoint again")


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that becomes it when all went well, and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    folder.chmod(0o755)
    try:
        yield folder
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy(source: Path, folder: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and path.name not in {DRAFT, MANIFEST}:
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _make_durable(folder: Path) -> None:
    """Read-only, and on disk before the name appears."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(_READ_ONLY)


def _measured(build: BuildRecord, folder: Path, manifest: Manifest) -> BuildRecord:
    """``build`` with the latency of its stages, self-tested on the way; as it was where it does not run here."""
    if why_not(build, this_machine()):
        return build
    opened = OpenedBundle(path=folder, manifest=manifest, build=build, options=OpenOptions(verify=False))
    latency = {}
    for stage in build.files:
        with load_stage(opened, stage) as engine:
            inputs = read_golden(folder / golden_path(stage)).inputs
            latency[stage] = latency_of(engine, inputs, device=device_name(build.arch))
    return build.model_copy(update={"latency": latency})


def latency_of(engine: Engine, inputs: Arrays, *, device: str, runs: int = _RUNS) -> LatencyRecord:
    """Wall time of ``runs`` passes of a warm engine; results are waited for."""
    times = pass_times_ms(engine, inputs, runs=runs)
    p50, p99 = np.percentile(times, [50, 99])
    return LatencyRecord(p50_ms=float(p50), p99_ms=float(p99), max_ms=max(times), count=runs, device=device)


def device_name(arch: str) -> str:
    """The processor's or the GPU's own name."""
    facts = machine_facts()
    return str(facts["cpu"] if arch == "cpu" or not facts["gpus"] else facts["gpus"][0]["name"])
