"""A bundle never changes, says what it is, and is refused with the reason wherever it does not belong."""

import json
from pathlib import Path

import numpy as np
import pytest
from altered import rehash, rewrite

from mola_core.cli import main
from mola_core.contracts.bundle import (
    MANIFEST,
    BuildRecord,
    BundleError,
    Machine,
    choose_build,
    differences,
    digest_of,
    read_manifest,
    require_site,
    verify_files,
    why_not,
)
from mola_core.contracts.site import NoGripperSpec, load_site
from mola_core.export import bundle_making
from mola_core.export.bundle_making import make_bundle
from mola_core.export.draft import Draft
from mola_core.runtime import stages
from mola_core.runtime.bundle_policy import OpenOptions, golden_path, load_stage, open_actor, open_bundle
from mola_core.runtime.golden import Golden, parity_of, read_golden, require_parity, write_golden

CPU = Machine(arch="cpu", runtimes={"onnxruntime": "1.30.0"})
RTX_4090 = Machine(arch="sm_89", runtimes={"onnxruntime": "1.30.0", "tensorrt_rtx": "1.7.1.116"})
STAGES = ("encoder", "video", "actor", "preview")


def build(runtime: str, arch: str, version: str) -> BuildRecord:
    files = {stage: f"{stage}.bin" for stage in STAGES}
    return BuildRecord(runtime=runtime, arch=arch, runtime_version=version, precision="fp16", files=files)


def test_a_fresh_bundle_is_whole_and_says_where_it_came_from(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    assert manifest.bundle_id == "micro/1" == f"{bundle.parent.name}/{bundle.name}"
    assert set(manifest.stages) == set(STAGES)
    assert manifest.training["recipe"] == "micro"
    assert manifest.builds[0].parity["video"].cosine > 0.99999
    assert manifest.builds[0].latency["actor"].p50_ms > 0
    assert not [path for path in bundle.rglob("*") if path.is_file() and path.stat().st_mode & 0o222]


def test_a_changed_byte_is_refused_by_name(copied: Path) -> None:
    path = copied / "onnx" / "weights.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"onnx/weights\.bin has SHA-256"):
        open_bundle(copied)


def test_a_missing_file_and_a_stranger_are_refused_by_name(copied: Path) -> None:
    (copied / "onnx" / "video.onnx").rename(copied / "onnx" / "other.onnx")
    with pytest.raises(BundleError, match=r"onnx/video\.onnx is missing"):
        open_bundle(copied)
    (copied / "onnx" / "other.onnx").rename(copied / "onnx" / "video.onnx")
    (copied / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt does not belong"):
        open_bundle(copied)


def test_a_manifest_that_contradicts_itself_is_refused(copied: Path) -> None:
    text = (copied / MANIFEST).read_text()
    said = json.loads(text)
    (copied / MANIFEST).write_text(text.replace(said["contract_hash"], "0" * 16))
    with pytest.raises(BundleError, match="contract_hash 0000000000000000 is not that of its contract"):
        read_manifest(copied)
    (copied / MANIFEST).write_text(text[:-20])
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_manifest(copied)
    with pytest.raises(BundleError, match="is not a bundle"):
        read_manifest(copied / "onnx")


@pytest.mark.parametrize(
    ("record", "machine", "reason"),
    [
        (build("tensorrt_rtx", "sm_89", "1.7.1.116"), RTX_4090, ""),
        (build("tensorrt_rtx", "sm_120", "1.7.1.116"), RTX_4090, "built for sm_120, this machine is sm_89"),
        (
            build("tensorrt_rtx", "sm_89", "1.6.0"),
            RTX_4090,
            r"compiled by tensorrt_rtx 1\.6\.0, 1\.7\.1\.116 is installed",
        ),
        (build("tensorrt", "sm_89", "11.0.0"), RTX_4090, "tensorrt is not installed"),
        (build("onnxruntime", "cpu", "1.20.0"), CPU, ""),
        (build("onnxruntime", "cpu", "1.31.0"), CPU, r"needs onnxruntime 1\.31\.0 or newer"),
        (build("onnxruntime", "cuda", "1.20.0"), RTX_4090, "with its GPU provider is not installed"),
    ],
)
def test_what_does_not_run_here_says_why(record: BuildRecord, machine: Machine, reason: str) -> None:
    import re  # noqa: PLC0415

    said = why_not(record, machine)
    assert re.search(reason, said) if reason else said == ""


def test_the_gpu_comes_before_the_cpu_and_a_named_runtime_before_both(copied: Path) -> None:
    rtx = build("tensorrt_rtx", "sm_89", "1.7.1.116")
    onnx = build("onnxruntime", "cpu", "1.20.0")
    manifest = rewrite(copied, builds=[onnx.model_dump(), rtx.model_dump()])
    assert choose_build(manifest, RTX_4090) == rtx
    assert choose_build(manifest, RTX_4090, runtime="onnxruntime") == onnx
    assert choose_build(manifest, CPU) == onnx
    with pytest.raises(BundleError, match="tensorrt_rtx is not installed"):
        choose_build(manifest, CPU, runtime="tensorrt_rtx")
    with pytest.raises(BundleError, match="has no build for tensorrt;"):
        choose_build(manifest, CPU, runtime="tensorrt")


SITE = Path(__file__).parents[2] / "launch/sites/twin.yaml"


def test_a_site_that_it_was_not_made_for_is_refused(bundle: Path) -> None:
    manifest, site = read_manifest(bundle), load_site(SITE)
    require_site(manifest, site)
    one = site.model_copy(update={"cameras": {"third_person": site.cameras["third_person"]}})
    with pytest.raises(BundleError, match="looks through wrist, site 'twin' has third_person"):
        require_site(manifest, one)
    handless = site.model_copy(update={"gripper": NoGripperSpec(kind="none")})
    with pytest.raises(BundleError, match="was trained with a gripper, site 'twin' has none"):
        require_site(manifest, handless)
    large = manifest.io.views[0].model_copy(update={"width": 640, "height": 320})
    larger = manifest.model_copy(update={"io": manifest.io.model_copy(update={"views": (large,)})})
    with pytest.raises(BundleError, match="takes 640 x 320 of third_person, site 'twin' streams 424 x 240"):
        require_site(larger, site)


def test_another_sentence_encoder_is_refused(copied: Path) -> None:
    manifest = read_manifest(copied)
    rewrite(copied, language=manifest.language.model_dump() | {"digest": "1" * 16})
    with pytest.raises(BundleError, match="trained with sentence encoder 1111111111111111"):
        open_actor(open_bundle(copied))


@pytest.mark.parametrize("damage", ["wrong", "nan"])
def test_engines_whose_answers_differ_from_the_golden_ones_never_serve(copied: Path, damage: str) -> None:
    path = copied / golden_path("actor")
    golden = read_golden(path)
    noise = np.random.default_rng(0).standard_normal(golden.outputs["actions"].shape).astype(np.float32)
    outputs = dict(golden.outputs) | {"actions": noise if damage == "wrong" else noise * np.nan}
    write_golden(path, Golden(inputs=golden.inputs, outputs=outputs))
    rehash(copied, golden_path("actor"))
    with pytest.raises(BundleError, match=r"actor of bundle micro/1 .* fails its self-test"):
        open_actor(open_bundle(copied))
    open_actor(open_bundle(copied, OpenOptions(self_test=False))).close()


@pytest.mark.parametrize("left_out", [stages.PREFIX_ACTIONS, stages.PREFIX_SETTLED, stages.GAINS])
def test_an_engine_that_leaves_out_what_is_seldom_used_is_found_out(bundle: Path, left_out: str) -> None:
    opened = open_bundle(bundle)
    engine = load_stage(opened, "actor")
    golden = read_golden(bundle / golden_path("actor"))
    at_rest = np.ones_like if left_out == stages.GAINS else np.zeros_like
    ignored = Golden(inputs=dict(golden.inputs) | {left_out: at_rest(golden.inputs[left_out])}, outputs=golden.outputs)
    require_parity(parity_of(engine, golden), precision="fp32", what="the actor")
    with pytest.raises(BundleError, match="fails its self-test"):
        require_parity(parity_of(engine, ignored), precision="fp32", what="the actor")
    engine.close()


def test_a_version_is_made_once(draft: Draft, bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"exists; bundles never change: choose another --version"):
        make_bundle(draft, bundle.parents[1], measure=False)


def test_what_fails_half_way_leaves_nothing(draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_folder: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(bundle_making, "_make_durable", full_disk)
    with pytest.raises(OSError, match="no space left"):
        make_bundle(draft, tmp_path, measure=False)
    assert not list((tmp_path / "micro").iterdir())


def test_two_bundles_differ_where_they_differ(draft: Draft, bundle: Path, tmp_path: Path) -> None:
    other = make_bundle(draft, tmp_path, version="2", measure=False)
    found = differences(read_manifest(bundle), read_manifest(other))
    assert found["version"] == ("1", "2")
    assert not [path for path in found if path.startswith(("io", "files", "normalization"))]


def test_commands_verify_show_and_compare(bundle: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", str(bundle), "--site", str(SITE), "--self-test"]) == 0
    assert "files as they were made, self-test passed" in capsys.readouterr().out
    assert main(["bundle", "show", str(bundle)]) == 0
    assert "third_person 32 x 16" in capsys.readouterr().out
    assert main(["bundle", "diff", str(bundle), str(copied)]) == 0
    (copied / "onnx" / "weights.bin").write_bytes(b"")
    assert main(["bundle", "verify", str(copied)]) == 2
    assert digest_of(copied / "onnx" / "weights.bin")[:16] in capsys.readouterr().err
