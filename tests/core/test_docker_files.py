"""The images cannot be built where there is no engine; what they copy, install and call is held against the repository."""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = next(parent for parent in Path(__file__).parents if (parent / "pyproject.toml").is_file())
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) with continued lines joined and comments left out."""
    text = "\n".join(line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def stages() -> dict[str, str]:
    """Stage → what it is built from."""
    found = [re.fullmatch(r"(\S+) AS (\S+)", rest) for name, rest in instructions() if name == "FROM"]
    assert all(found), "every stage has a name"
    return {match[2]: match[1] for match in found if match}


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    return content


def interpolated(value: str) -> str:
    """As Compose reads it: ``${NAME:-default}``."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: os.environ.get(match[1]) or match[2], value)


def test_stages_rest_on_each_other_or_on_an_image_with_a_version() -> None:
    known: set[str] = set()
    for stage, source in stages().items():
        assert source in known or re.fullmatch(r"[\w./-]+:[\w.-]+", source), f"{stage} is built from {source}"
        assert not source.endswith(":latest")
        known.add(stage)
    assert known == {"base", "runtime", "dev", "train"}


def test_everything_that_is_copied_exists() -> None:
    for name, rest in instructions():
        if name == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), f"COPY {source}"


def test_every_library_of_a_rig_is_one_that_was_tested() -> None:
    locked = set(re.findall(r"^([A-Za-z0-9_.-]+)==", (DOCKER / "setup/requirements.lock").read_text(), re.MULTILINE))
    wanted = [
        line.strip() for line in (DOCKER / "rig.in").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert [name for name in wanted if name.lower() not in {item.lower() for item in locked}] == []


def test_tensorrt_and_its_bindings_are_pinned_to_one_cuda_version() -> None:
    lines = [line for line in (DOCKER / "gpu.in").read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    (tensorrt,) = (name for name in pins if name.startswith("tensorrt"))
    assert re.fullmatch(r"tensorrt-cu\d+", tensorrt), "the plain name follows NVIDIA's newest CUDA"
    assert tensorrt == f"tensorrt-cu{pins['cuda-bindings'].partition('.')[0]}"
    installed = [rest for name, rest in instructions() if name == "RUN" and "docker/gpu.in" in rest]
    assert len(installed) == 1, "the image takes what a rig without Docker takes"
    assert not [rest for name, rest in instructions() if name == "RUN" and re.search(r"tensorrt|cuda-", rest)]


def test_apt_leaves_no_lists_and_pip_no_cache() -> None:
    for name, rest in instructions():
        if name == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest
            assert "rm -rf /var/lib/apt/lists/*" in rest
        if name == "RUN" and "pip install" in rest:
            assert rest.count("pip install") == rest.count("pip install --no-cache-dir")


@pytest.mark.parametrize("service", ["rig", "twin", "dev", "train"])
def test_services_build_stages_that_exist_and_call_commands_that_exist(service: str) -> None:
    spec = compose()["services"][service]
    assert spec["build"]["target"] in stages()
    words = [str(word) for word in spec["command"]]
    if service == "train":
        words = ["mola", *words]
    if words[0] == "mola":
        commands = {entry.name.partition(".")[0] for entry in entry_points(group="mola.commands")}
        assert words[1] in commands
    if "launch" in words:
        assert (ROOT / "launch" / words[words.index("launch") + 1]).is_file()


def test_the_graph_gets_shared_memory_and_realtime_limits() -> None:
    rig = compose()["services"]["rig"]
    assert rig["shm_size"] == "2gb"
    assert rig["ulimits"]["rtprio"] == 90
    assert rig["network_mode"] == "host"
    assert "/dev/bus/usb" in rig["devices"]


@pytest.mark.parametrize("service", ["rig", "twin", "dev", "train"])
def test_what_a_service_writes_lies_in_the_repository_and_belongs_to_who_asked(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNS", "RUN_AS"):
        monkeypatch.delenv(name, raising=False)
    spec = compose()["services"][service]
    assert interpolated(spec["user"]) == "1000:1000"
    (runs,) = (mount for mount in spec["volumes"] if isinstance(mount, dict) and mount["target"].endswith("/runs"))
    assert (DOCKER / interpolated(runs["source"])).resolve() == ROOT / "runs"
    assert runs["bind"]["create_host_path"] is False, "Docker would make it root's"
    monkeypatch.setenv("RUN_AS", "7:8")
    assert interpolated(spec["user"]) == "7:8"


@pytest.mark.parametrize("stage", ["base", "train"])
def test_a_user_that_the_image_does_not_know_has_a_home_to_write_to(stage: str) -> None:
    of_stage = DOCKERFILE.partition(f" AS {stage}\n")[2].partition("\nFROM ")[0]
    assert "mkdir --mode=1777 /home/mola" in of_stage
    assert re.search(r"^ENV HOME=/home/mola$", of_stage, re.MULTILINE)


@pytest.mark.parametrize(
    ("device", "major"),
    [
        ("video4linux", 81),
        ("usb", 189),
        ("gamepad", 13),
        ("USB serial adapter", 188),
        ("USB modem", 166),
        ("hidraw", 241),
    ],
)
def test_a_rig_may_open_every_kind_of_device_that_drivers_open(
    device: str, major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives hidraw whatever number is free."""
    monkeypatch.delenv("HIDRAW_MAJOR", raising=False)
    rules = [interpolated(rule) for rule in compose()["services"]["rig"]["device_cgroup_rules"]]
    assert {f"c {major}:* rmw", "c *:* rmw"} & set(rules), device
    monkeypatch.setenv("HIDRAW_MAJOR", "241")
    narrowed = [interpolated(rule) for rule in compose()["services"]["rig"]["device_cgroup_rules"]]
    assert f"c {major}:* rmw" in narrowed


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.prefix) / "bin" / "hadolint"
    words = [str(hadolint), "--no-color", "--config", str(DOCKER / "hadolint.yaml"), str(DOCKER / "Dockerfile")]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_compose_file_is_one_by_the_published_schema() -> None:
    checker = Path(sys.prefix) / "bin" / "check-jsonschema"
    words = [str(checker), "--builtin-schema", "vendor.compose-spec", str(DOCKER / "compose.yaml")]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_entry_point_is_executable_and_sources_the_workspace() -> None:
    script = DOCKER / "entrypoint.sh"
    assert script.stat().st_mode & 0o111
    assert "/opt/mola_ws/setup.bash" in script.read_text()
    assert "--install-base /opt/mola_ws" in DOCKERFILE
