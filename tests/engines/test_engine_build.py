"""Engines go into drafts as they are, and into bundles as a new version beside the old one."""

from pathlib import Path

import pytest

from mola_core.cli import main
from mola_core.contracts.bundle import read_manifest, verify_files
from mola_core.export import compiling
from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.draft import Draft
from mola_core.export.errors import ExportError
from mola_core.runtime.engines.sidecar import read_sidecar


class FakeCompiler:
    """Writes the graph's size."""

    suffix = ".rtx"
    version = "9.9"

    def compile(self, job: CompileJob) -> None:
        if job.arch == "sm_1":
            raise ExportError("sm_1 is too old")
        job.out.write_text(str(job.graph.stat().st_size))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "open_compiler", lambda _runtime: FakeCompiler())


@pytest.mark.usefixtures("compiler")
def test_a_bundle_with_engines_is_another_version(copied: Path) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert main(["engine", "build", str(copied), "--runtime", "tensorrt_rtx", "--arch", "sm_89"]) == 0
    made = copied.parent / "1+tensorrt-rtx.sm-89"
    manifest = read_manifest(made)
    verify_files(made, manifest)
    build = manifest.builds[0]
    assert (build.runtime, build.arch, build.runtime_version) == ("tensorrt_rtx", "sm_89", "9.9")
    assert not build.parity, "it was never run"
    for stage, name in build.files.items():
        inputs, _ = read_sidecar(made / name)
        assert [spec.name for spec in inputs] == [item.name for item in manifest.stages[stage].inputs]
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in copied.parent.iterdir()) == ["1", made.name]


@pytest.mark.usefixtures("compiler")
def test_an_engine_that_does_not_compile_leaves_no_version(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "build", str(copied), "--runtime", "tensorrt_rtx", "--arch", "sm_1"]) == 2
    assert "sm_1 is too old" in capsys.readouterr().err
    assert [path.name for path in copied.parent.iterdir()] == ["1"]
    assert [path.name for path in copied.parents[1].iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("compiler")
def test_a_second_build_of_a_kind_replaces_the_first(draft: Draft, tmp_path: Path) -> None:
    import shutil  # noqa: PLC0415

    shutil.copytree(draft.path, tmp_path / "draft")
    copy = Draft(path=tmp_path / "draft", manifest=draft.manifest)
    once = compiling.add_engines(copy, runtime="tensorrt_rtx", arch="sm_89")
    twice = compiling.add_engines(once, runtime="tensorrt_rtx", arch="sm_89")
    other = compiling.add_engines(twice, runtime="tensorrt_rtx", arch="sm_120")
    labels = [build.label for build in other.manifest.builds]
    assert labels == [
        "tensorrt_rtx fp32 sm_120", "tensorrt_rtx fp32 sm_89", "onnxruntime fp32 cpu", "onnxruntime fp32 cuda"
    ]  # fmt: skip


def test_runtimes_without_a_compiler_are_named() -> None:
    with pytest.raises(
        ExportError, match="nothing compiles for 'onnxruntime'; there are aot_inductor, tensorrt, tensorrt_rtx"
    ):
        compiling.open_compiler("onnxruntime")
