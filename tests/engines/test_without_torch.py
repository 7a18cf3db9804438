"""What a rig does with bundles works where torch cannot be imported; what needs torch says so in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from mola_core.contracts.bundle import read_manifest
from mola_core.export.draft import Draft

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class NoTorch(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
from mola_core.cli import main
"""
COMMAND = WITHOUT_TORCH + "sys.exit(main())"
COMPILING = (
    WITHOUT_TORCH
    + """
from types import SimpleNamespace
from mola_core.export.compilers import tensorrt

tensorrt.gpu_arch = lambda: "sm_89"
tensorrt.build_plan = lambda _api, job, **_options: job.out.write_bytes(job.graph.read_bytes())
sys.modules["tensorrt"] = SimpleNamespace(__version__="11.4.0.106")
sys.exit(main())
"""
)
"""TensorRT itself is a stand-in; everything around it is as on the rig."""


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_a_rig_compiles_for_its_own_card(copied: Path) -> None:
    result = run(COMPILING, "engine", "build", str(copied), "--runtime", "tensorrt", "--arch", "sm_89")
    assert result.returncode == 0, result.stderr
    build = read_manifest(copied.parent / "1+tensorrt.sm-89").builds[0]
    assert (build.label, build.runtime_version) == ("tensorrt fp32 sm_89", "11.4.0.106")


def test_a_rig_measures_its_engines(bundle: Path) -> None:
    result = run(COMMAND, "bench", "latency", "--only-bundle", "--bundle", str(bundle), "--runs", "2", "--json")
    assert result.returncode == 0, result.stderr
    assert '"onnxruntime fp32 cpu"' in result.stdout


def test_a_rig_seals_a_bundle_that_verifies(draft: Draft, tmp_path: Path) -> None:
    made = run(COMMAND, "bundle", "make", str(draft.path), "--root", str(tmp_path))
    assert made.returncode == 0, made.stderr
    verified = run(COMMAND, "bundle", "verify", str(tmp_path / "micro" / "1"), "--self-test")
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("checkpoint", [[], ["--checkpoint", "runs/x"]])
def test_what_compiles_the_model_itself_says_that_torch_is_missing(copied: Path, checkpoint: list[str]) -> None:
    result = run(COMMAND, "engine", "build", str(copied), "--runtime", "aot_inductor", "--arch", "cpu", *checkpoint)
    assert result.returncode == 2
    assert "the compiler of aot_inductor needs torch, which is not installed here" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_checkpoint_is_refused_where_graphs_are_read(copied: Path) -> None:
    words = ["--runtime", "tensorrt", "--arch", "sm_89", "--checkpoint", "runs/x"]
    result = run(COMPILING, "engine", "build", str(copied), *words)
    assert result.returncode == 2
    assert "--checkpoint runs/x is for --runtime aot_inductor; tensorrt reads the bundle's graphs" in result.stderr
