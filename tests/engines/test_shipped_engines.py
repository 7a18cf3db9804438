"""The bundle that is shipped compiles for an RTX 4090 on a machine that has none."""

import shutil
from pathlib import Path

import pytest
from ahead_of_time import only_x86_64

from mola_core.cli import main
from mola_core.contracts.bundle import read_manifest
from mola_core.runtime.engines.sidecar import read_sidecar

SHIPPED = Path(__file__).parents[2] / "models/twin/8"
FP32_BYTES = 4


@only_x86_64
def test_every_stage_of_the_shipped_bundle_becomes_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "twin" / "8"
    shutil.copytree(SHIPPED, bundle, copy_function=shutil.copyfile)
    assert main(["engine", "build", str(bundle), "--runtime", "tensorrt_rtx", "--arch", "sm_89"]) == 0
    made = tmp_path / "twin" / "8+tensorrt-rtx.sm-89"
    assert main(["bundle", "verify", str(made)]) == 0
    assert "17 files as they were made" in capsys.readouterr().out
    manifest = read_manifest(made)
    build = manifest.builds[0]
    assert build.label == "tensorrt_rtx fp32 sm_89"
    assert set(build.files) == {"encoder", "video", "preview", "actor"}
    for stage, name in build.files.items():
        record = manifest.stages[stage]
        assert (made / name).stat().st_size > FP32_BYTES * record.num_parameters, "all of its weights are in it"
        _, outputs = read_sidecar(made / name)
        assert [(spec.name, spec.shape) for spec in outputs] == [(item.name, item.shape) for item in record.outputs]
