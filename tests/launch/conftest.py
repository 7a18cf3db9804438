"""A package with two nodes in an ament prefix of its own, and launch files written where a test wants them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mola_core.launching import LaunchPlan, expand

INDEX = Path("share/ament_index/resource_index/packages")
NODE = "#!/bin/sh\nexec sleep 1000\n"

WriteLaunchFile = Callable[..., Path]
Expand = Callable[..., LaunchPlan]


def install_package(prefix: Path, name: str, *, executables: tuple[str, ...] = ()) -> None:
    (prefix / INDEX).mkdir(parents=True, exist_ok=True)
    (prefix / INDEX / name).touch()
    (prefix / "share" / name).mkdir(parents=True)
    (prefix / "lib" / name).mkdir(parents=True)
    for executable in executables:
        path = prefix / "lib" / name / executable
        path.write_text(NODE)
        path.chmod(0o755)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    path = tmp_path / "prefix"
    install_package(path, "demo", executables=("talker", "listener"))
    return path


@pytest.fixture
def environment(prefix: Path) -> dict[str, str]:
    return {"AMENT_PREFIX_PATH": f"/nowhere:{prefix}", "PATH": os.environ["PATH"], "HOME": "/home/robot"}


@pytest.fixture
def write(tmp_path: Path) -> WriteLaunchFile:
    def write_launch_file(body: str, name: str = "test.launch.xml") -> Path:
        path = tmp_path / name
        path.write_text(f"<launch>\n{body}\n</launch>\n")
        return path

    return write_launch_file


@pytest.fixture
def run_file(write: WriteLaunchFile, environment: dict[str, str]) -> Expand:
    """Expand a launch file with this body and these arguments."""

    def expand_body(body: str, **arguments: str) -> LaunchPlan:
        return expand(write(body), arguments, environment=environment)

    return expand_body
