"""A runtime counts as installed whatever its package is called."""

from pathlib import Path

import pytest

from mola_core.contracts.bundle import BuildRecord, why_not
from mola_core.runtime import machine


@pytest.mark.parametrize(
    ("package", "runtime"),
    [
        ("tensorrt", "tensorrt"),
        ("tensorrt_cu12", "tensorrt"),
        ("tensorrt_cu13", "tensorrt"),
        ("tensorrt_rtx", "tensorrt_rtx"),
        ("tensorrt_rtx_cu13", "tensorrt_rtx"),
        ("torch", "aot_inductor"),
        ("onnxruntime_gpu", "onnxruntime"),
    ],
)
def test_what_pip_has_installed_is_found(
    package: str, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip's own record of a package, under the name that the package gives itself."""
    record = tmp_path / f"{package}-11.4.0.106.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 11.4.0.106\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setattr(machine, "gpu_arch", lambda: "sm_89")
    here = machine.this_machine()
    assert here.runtimes[runtime] == "11.4.0.106"
    files = {"actor": "actor.plan"}
    build = BuildRecord(runtime=runtime, arch="sm_89", runtime_version="11.4.0.106", precision="fp16", files=files)
    assert why_not(build, here) == ""


def test_what_is_not_installed_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setattr(machine, "gpu_arch", lambda: "cpu")
    assert machine.this_machine().runtimes == {}
