"""A bundle: everything that a robot needs of one model, in a directory that never changes once it is there.

    models/<name>/<version>/
      manifest.json        what it is, whose it is, and the SHA-256 of every other file
      onnx/                a graph for each stage: the source of all engines; one for the sentence encoder where it comes along
      engines/             compiled for one runtime version and GPU architecture each
      golden/              inputs and outputs of each graph (safetensors), for self-tests and parity
      language/            the tokenizer of the sentence encoder, where it comes along

What was compiled is tied to the runtime's version and the GPU's architecture; a graph runs wherever its runtime is new enough.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import IoSpec
from mola_core.contracts.normalization import Normalization
from mola_core.contracts.plan_age import INFERENCE_NS, oldest_plan_ns, why_outlived
from mola_core.contracts.preprocess import centre_crop_box
from mola_core.contracts.site import Site

MANIFEST = "manifest.json"
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
VERSION_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z_.+-]{0,63}$"

Stage = Literal["encoder", "video", "actor", "preview"]
"""See :mod:`mola_core.runtime.stages`."""
Runtime = Literal["onnxruntime", "tensorrt", "tensorrt_rtx", "aot_inductor"]
Precision = Literal["fp32", "fp16", "bf16"]

PORTABLE: frozenset[str] = frozenset({"onnxruntime"})
"""Runtimes that read the graphs themselves: any version from the recorded one on."""


CUDA_ONNXRUNTIME = "onnxruntime_cuda"
"""Stands among a machine's runtimes where ONNX Runtime has its GPU provider."""


class BundleError(MolaError):
    """A bundle is damaged, not for this machine, or not for this site."""

    exit_code = 2


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TensorRecord(_Record):
    """One input or output of a stage."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class StageRecord(_Record):
    """One stage of the pipeline, whatever runs it."""

    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    num_parameters: int = Field(ge=0)


class ParityRecord(_Record):
    """How far an engine's outputs are from torch's on the golden inputs, worst output of the stage."""

    cosine: float
    max_abs: float = Field(ge=0)
    """Largest difference over the largest absolute value of the reference."""
    codes_equal: bool
    """Whether every code index came out the same."""


class LatencyRecord(_Record):
    """Wall time of a stage where the bundle was made, ms."""

    p50_ms: float = Field(ge=0)
    p99_ms: float = Field(ge=0)
    max_ms: float = Field(ge=0)
    count: int = Field(ge=1)
    device: str


class BuildRecord(_Record):
    """The stages compiled for one runtime and device."""

    runtime: Runtime
    arch: str
    """``cpu``, ``cuda`` for any NVIDIA GPU, or one architecture: ``sm_89``."""
    runtime_version: str
    precision: Precision
    files: dict[Stage, str]
    """Stage → path in the bundle."""
    parity: dict[Stage, ParityRecord] = {}
    """By stage; empty where it was built without a device to run it on."""
    latency: dict[Stage, LatencyRecord] = {}

    @property
    def label(self) -> str:
        """For people: ``tensorrt fp16 sm_89``."""
        return f"{self.runtime} {self.precision} {self.arch}"


class LanguageRecord(_Record):
    """The frozen sentence encoder that the model was trained with."""

    encoder: str
    digest: str
    length: int = Field(ge=1)
    """L; longer instructions are cut."""


class BundledLanguageRecord(LanguageRecord):
    """An encoder that robots do not have installed: the bundle brings it along, as a graph that ONNX Runtime runs on the CPU."""

    graph: str
    tokenizer: str
    golden: str
    """Paths in the bundle; the tokenizer's file is one of the package ``tokenizers`` and cuts and pads to ``length``."""
    parity: ParityRecord | None = None
    """None where it was not compared with torch."""


class Manifest(_Record):
    """What a bundle says of itself."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    contract_hash: str
    io: IoSpec
    normalization: Normalization
    modalities: tuple[str, ...]
    passes_on: tuple[str, ...]
    """Names of the tensors that go from the imagination to the actor."""
    max_settled: int = Field(default=0, ge=0)
    """The most rows of a running plan that its head can continue; 0: it was shown none in training, and is not told of any."""
    language: BundledLanguageRecord | LanguageRecord
    stages: dict[Stage, StageRecord]
    builds: tuple[BuildRecord, ...] = Field(min_length=1)
    git: dict[str, Any]
    training: dict[str, Any]
    """Recipe, stage, step, metrics and digest of the checkpoint's weights."""
    files: dict[str, str] = {}
    """Path in the bundle → SHA-256, hexadecimal; of every file but this one."""

    @property
    def bundle_id(self) -> str:
        """``name/version``."""
        return f"{self.name}/{self.version}"

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.contract_hash != self.io.contract.hash:
            raise ValueError(f"contract_hash {self.contract_hash} is not that of its contract, {self.io.contract.hash}")
        for build in self.builds:
            if set(build.files) != set(self.stages):
                raise ValueError(f"build {build.label} has {sorted(build.files)}, the stages are {sorted(self.stages)}")
        return self


class Machine(_Record):
    """What decides whether a build runs here."""

    arch: str
    """``cpu``, or the GPU's: ``sm_89``."""
    runtimes: dict[str, str]
    """Installed runtimes and their versions."""


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of ``bundle``; its files are not looked at.

    Raises:
        BundleError: there is none, or it says something that cannot be meant.
    """
    path = bundle / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{bundle} is not a bundle: {MANIFEST} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'manifest'}: {item['msg']}" for item in error.errors()
        )
        raise BundleError(f"{path}: {problems}") from error


def verify_files(bundle: Path, manifest: Manifest) -> None:
    """Every file is there, nothing else is, and no byte has changed.

    Raises:
        BundleError: names the file.
    """
    present = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()} - {MANIFEST}
    for what, names in (
        ("is missing", set(manifest.files) - present),
        ("does not belong", present - set(manifest.files)),
    ):
        if names:
            raise BundleError(f"bundle {manifest.bundle_id}: {', '.join(sorted(names))} {what}; fetch or make it again")
    for name, expected in sorted(manifest.files.items()):
        actual = digest_of(bundle / name)
        if actual != expected:
            raise BundleError(
                f"bundle {manifest.bundle_id}: {name} has SHA-256 {actual[:16]}…, the manifest says {expected[:16]}…; "
                "the file was changed or damaged: fetch or make the bundle again"
            )


def require_site(manifest: Manifest, site: Site) -> None:
    """Refuse a model that cannot mean what it says on this rig.

    Raises:
        BundleError: cameras that are not there or too small for its views, no gripper, or plans that are followed for longer than the
            site allows (see :func:`require_plan_age`).
    """
    who, where, io = f"bundle {manifest.bundle_id}", f"site {site.name!r}", manifest.io
    missing = set(io.contract.cameras) - set(site.cameras)
    if missing:
        has = ", ".join(sorted(site.cameras)) or "no camera"
        raise BundleError(f"{who} looks through {', '.join(sorted(missing))}, {where} has {has}")
    for view in io.views:
        stream = site.cameras[view.camera]
        _, _, width, height = centre_crop_box(
            width=stream.width, height=stream.height, view_width=view.width, view_height=view.height
        )
        if width < view.width or height < view.height:
            raise BundleError(
                f"{who} takes {view.width} x {view.height} of {view.camera}, {where} streams {stream.width} x {stream.height}"
            )
    if site.gripper.kind == "none" and "gripper_opening" in (*io.contract.state, *io.contract.action):
        raise BundleError(f"{who} was trained with a gripper, {where} has none")
    require_plan_age(manifest, site, rows=io.execute_steps)


def require_plan_age(manifest: Manifest, site: Site, *, rows: int) -> None:
    """Refuse to execute ``rows`` of each chunk where the site would stop the arm before the next chunk can be there.

    Raises:
        BundleError: names both ages, and what to change.
    """
    period_ns, limit_ns = manifest.io.contract.period_ns, site.safety.max_observation_age_ms * NS_PER_MS
    executed_ns = rows * period_ns
    reason = why_outlived(executed_ns=executed_ns, inference_ns=INFERENCE_NS, limit_ns=limit_ns)
    if reason:
        enough_ms = oldest_plan_ns(executed_ns=executed_ns, inference_ns=INFERENCE_NS) / NS_PER_MS
        raise BundleError(
            f"bundle {manifest.bundle_id} executes {rows} rows of {period_ns / NS_PER_MS:g} ms on site {site.name!r}: {reason}; "
            f"give the site's safety section {enough_ms:.0f} or more, or have fewer rows executed: mola export --execute-steps"
        )


def why_not(build: BuildRecord, machine: Machine) -> str:
    """Why ``build`` cannot run on ``machine``; empty when it can."""
    on_gpu = build.runtime == "onnxruntime" and build.arch != "cpu"
    installed = machine.runtimes.get(CUDA_ONNXRUNTIME if on_gpu else build.runtime)
    if installed is None:
        return f"{build.runtime}{' with its GPU provider' if on_gpu else ''} is not installed"
    fits = build.arch in {"cpu", machine.arch} or (build.arch == "cuda" and machine.arch != "cpu")
    if not fits:
        return f"built for {build.arch}, this machine is {machine.arch}"
    if build.runtime in PORTABLE:
        return (
            ""
            if _numbers(installed) >= _numbers(build.runtime_version)
            else (f"needs {build.runtime} {build.runtime_version} or newer, {installed} is installed")
        )
    if installed != build.runtime_version:
        return f"compiled by {build.runtime} {build.runtime_version}, {installed} is installed; run: mola engine build"
    return ""


def choose_build(manifest: Manifest, machine: Machine, *, runtime: str | None = None) -> BuildRecord:
    """The first build that runs here, GPU before CPU; of ``runtime`` alone where one is named.

    Raises:
        BundleError: none does; every build's reason is named.
    """
    candidates = [build for build in manifest.builds if runtime in {None, build.runtime}]
    if not candidates:
        labels = ", ".join(build.label for build in manifest.builds)
        raise BundleError(f"bundle {manifest.bundle_id} has no build for {runtime}; it has {labels}")
    reasons = {build.label: why_not(build, machine) for build in candidates}
    able = [build for build in candidates if not reasons[build.label]]
    if not able:
        listed = "; ".join(f"{label}: {reason}" for label, reason in reasons.items())
        raise BundleError(f"no engine of bundle {manifest.bundle_id} runs here: {listed}")
    return min(able, key=lambda build: build.arch == "cpu")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(first: Manifest, second: Manifest) -> Mapping[str, tuple[Any, Any]]:
    """Dotted path → the two values, for every place where two manifests differ."""
    return dict(_differences(first.model_dump(mode="json"), second.model_dump(mode="json"), prefix=""))


def _differences(first: Any, second: Any, *, prefix: str) -> Iterable[tuple[str, tuple[Any, Any]]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted({*first, *second}):
            yield from _differences(first.get(key), second.get(key), prefix=f"{prefix}.{key}" if prefix else key)
    elif first != second:
        yield prefix, (first, second)


def _numbers(version: str) -> tuple[int, ...]:
    """``1.32.0`` → (1, 32, 0); what is not a number ends it."""
    numbers = []
    for part in version.split("."):
        digits = part.partition("+")[0]
        if not digits.isdigit():
            break
        numbers.append(int(digits))
    return tuple(numbers)
