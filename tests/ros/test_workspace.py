"""The built workspace holds every package of the repository, the launch files among them."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ament_index_python.packages import get_package_share_directory

ROOT = next(parent for parent in Path(__file__).parents if (parent / "pyproject.toml").is_file())

pytestmark = pytest.mark.ros


def test_every_package_of_the_workspace_is_installed() -> None:
    manifests = sorted((ROOT / "ros2_ws" / "src").glob("*/package.xml"))
    names = {ET.parse(manifest).findtext("name") for manifest in manifests}  # noqa: S314  # files of our own
    assert names >= {"mola_bringup", "mola_drivers", "mola_interfaces", "mola_nodes", "mola_twin"}
    for name in names:
        assert Path(get_package_share_directory(str(name))).is_dir()


def test_the_launch_package_installs_all_of_the_launch_folder() -> None:
    share = Path(get_package_share_directory("mola_bringup"))
    wanted = {
        path.relative_to(ROOT / "launch")
        for path in (ROOT / "launch").rglob("*")
        if path.is_file() and path.name != "COLCON_IGNORE"
    }
    assert Path("twin.launch.xml") in wanted
    assert {path for path in wanted if not (share / path).is_file()} == set()


def test_nothing_in_the_repository_is_a_link() -> None:
    """Links do not survive every way in which a repository travels."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line for line in listing.stdout.splitlines() if line.startswith("120000")] == []
