"""The images cannot be built where there is no engine; what they copy, install and call is held against the repository."""

import re
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


def test_the_entry_point_is_executable_and_sources_the_workspace() -> None:
    script = DOCKER / "entrypoint.sh"
    assert script.stat().st_mode & 0o111
    assert "/opt/mola_ws/setup.bash" in script.read_text()
    assert "--install-base /opt/mola_ws" in DOCKERFILE
