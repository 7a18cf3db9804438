"""Adds engines to a draft, or to a bundle, which then becomes another version of it."""

import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from mola_core.contracts.bundle import MANIFEST, BuildRecord, Runtime, StageRecord, read_manifest, verify_files, why_not
from mola_core.export.bundle_making import make_bundle
from mola_core.export.compilers.protocol import CompileJob, Compiler
from mola_core.export.draft import DRAFT, Draft, onnx_path, with_build, write_draft
from mola_core.export.errors import ExportError
from mola_core.runtime.bundle_policy import golden_path
from mola_core.runtime.engines.loading import EngineSource, load_engine
from mola_core.runtime.engines.sidecar import write_sidecar
from mola_core.runtime.golden import parity_of, read_golden, require_parity
from mola_core.runtime.machine import this_machine
from mola_core.runtime.stages import Stage
from mola_core.runtime.tensors import TensorSpec

if TYPE_CHECKING:  # engines are compiled on rigs too, which have no torch
    from mola_core.export.stages import StageModule

COMPILER_GROUP = "mola.compilers"


def open_compiler(runtime: Runtime) -> Compiler:
    """The compiler of ``runtime``.

    Raises:
        ExportError: there is none, or what it compiles with is not installed.
    """
    found = [entry for entry in entry_points(group=COMPILER_GROUP) if entry.name == runtime]
    if not found:
        names = sorted({entry.name for entry in entry_points(group=COMPILER_GROUP)})
        raise ExportError(
            f"nothing compiles for {runtime!r}; there are {', '.join(names)}; onnxruntime reads the graphs as they are"
        )
    try:
        compiler: Compiler = found[0].load()()
    except ModuleNotFoundError as error:
        raise ExportError(
            f"the compiler of {runtime} needs {error.name}, which is not installed here; "
            "compile where the model was trained, or install it: make setup"
        ) from error
    return compiler


def add_engines(
    draft: Draft,
    *,
    runtime: Runtime,
    arch: str,
    modules: "dict[Stage, StageModule] | None" = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Draft:
    """Compile every stage of ``draft`` and note it; where this machine can run the engines, they are compared with the golden outputs.

    Raises:
        ExportError: see :meth:`~mola_core.export.compilers.protocol.Compiler.compile`.
        BundleError: an engine fails its self-test.
    """
    compiler = open_compiler(runtime)
    precision = draft.manifest.builds[-1].precision
    folder = f"engines/{runtime}-{compiler.version}-{arch}-{precision}"
    (draft.path / folder).mkdir(parents=True, exist_ok=True)
    files: dict[Stage, str] = {}
    for stage, record in draft.manifest.stages.items():
        say(f"{stage}: compiling for {runtime} {compiler.version}, {arch}")
        files[stage] = f"{folder}/{stage}{compiler.suffix}"
        out = draft.path / files[stage]
        compiler.compile(
            CompileJob(
                stage=stage,
                graph=draft.path / onnx_path(stage),
                out=out,
                arch=arch,
                precision=precision,
                module=modules.get(stage) if modules is not None else None,
            )
        )
        write_sidecar(out, **_specs(record))
    build = BuildRecord(runtime=runtime, arch=arch, runtime_version=compiler.version, precision=precision, files=files)
    build = _compared(build, draft)
    added = with_build(draft, build)
    write_draft(added)
    return added


def add_engines_to_bundle(
    bundle: Path,
    *,
    runtime: Runtime,
    arch: str,
    version: str | None = None,
    modules: "dict[Stage, StageModule] | None" = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Path:
    """A new version of ``bundle`` beside it that holds the engines too; its own files stay as they are.

    Raises: as :func:`add_engines` and :func:`~mola_core.export.bundle_making.make_bundle`.
    """
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    version = version or f"{manifest.version}+{runtime}.{arch}".replace("_", "-")
    root = bundle.resolve().parents[1]
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=root) as scratch:
        folder = Path(scratch) / "draft"
        shutil.copytree(bundle, folder, copy_function=shutil.copyfile)
        (folder / MANIFEST).unlink()
        draft = Draft(path=folder, manifest=manifest.model_copy(update={"version": version, "files": {}}))
        write_draft(draft)
        return make_bundle(add_engines(draft, runtime=runtime, arch=arch, modules=modules, say=say), root)


def is_draft(path: Path) -> bool:
    """Whether ``path`` may still change."""
    return (path / DRAFT).is_file()


def _compared(build: BuildRecord, draft: Draft) -> BuildRecord:
    if why_not(build, this_machine()):
        return build
    parity = {}
    for stage, name in build.files.items():
        source = EngineSource(name=stage, path=draft.path / name, device="cpu" if build.arch == "cpu" else "cuda")
        with load_engine(build.runtime, source) as engine:
            engine.warm()
            golden = read_golden(draft.path / golden_path(stage))
            parity[stage] = parity_of(engine, golden)
        require_parity(parity[stage], precision=build.precision, what=f"{stage} ({build.label})")
    return build.model_copy(update={"parity": parity})


def _specs(record: StageRecord) -> dict[str, tuple[TensorSpec, ...]]:
    return {
        side: tuple(TensorSpec(item.name, item.shape, item.dtype) for item in items)
        for side, items in (("inputs", record.inputs), ("outputs", record.outputs))
    }
