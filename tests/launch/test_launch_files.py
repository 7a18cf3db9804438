"""The launch files that are shipped: they expand, they agree with each other, and they know nothing of any site."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import load_site
from mola_core.launching import LaunchArgumentError, LaunchPlan, ParameterText, ProcessSpec, expand

ROOT = next(parent for parent in Path(__file__).parents if (parent / "pyproject.toml").is_file())
LAUNCH = ROOT / "launch"
EXECUTABLES = (
    "bundle_manager_node",
    "camera_node",
    "controller_node",
    "episode_recorder_node",
    "imagination_node",
    "lifecycle_manager_node",
    "mola_process",
    "policy_node",
    "reset_overlay_node",
    "scripted_policy_node",
    "teleop_node",
)


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a workspace where ``mola_bringup`` and ``mola_nodes`` are installed."""
    prefix = tmp_path / "install"
    index = prefix / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    for package in ("mola_bringup", "mola_nodes"):
        (index / package).touch()
    share = prefix / "share/mola_bringup"
    share.mkdir(parents=True)
    for file in LAUNCH.glob("*.launch.xml"):
        (share / file.name).symlink_to(file)
    for folder in ("params", "sites", "dds"):
        (share / folder).symlink_to(LAUNCH / folder)
    programs = [*(prefix / "lib/mola_nodes" / name for name in EXECUTABLES), prefix / "bin/mola"]
    for program in programs:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return {"AMENT_PREFIX_PATH": str(prefix), "PATH": f"{prefix}/bin:{os.environ['PATH']}"}


def launched(name: str, installed: dict[str, str], **arguments: str) -> LaunchPlan:
    share = Path(installed["AMENT_PREFIX_PATH"]) / "share/mola_bringup"
    return expand(share / name, arguments, environment=installed)


def parameters(process: ProcessSpec) -> dict[str, Any]:
    """All parameters that the process is given, later ones over earlier ones."""
    values: dict[str, Any] = {}
    files = [part for before, part in zip(process.argv, process.argv[1:], strict=False) if before == "--params-file"]
    for file in files:
        content = file.content if isinstance(file, ParameterText) else Path(file).read_text()
        for section in yaml.safe_load(content).values():
            values |= section["ros__parameters"]
    return values


def by_name(plan: LaunchPlan) -> dict[str, ProcessSpec]:
    return {process.name: process for process in plan.processes}


def test_the_twin_brings_its_world_and_the_whole_graph(installed: dict[str, str]) -> None:
    processes = by_name(launched("twin.launch.xml", installed))
    assert list(processes) == [
        "twin",
        "camera_third_person",
        "camera_wrist",
        "controller",
        "policy",
        "lifecycle_manager",
    ]
    assert processes["twin"].argv == ("mola", "twin", "serve", "--host", "127.0.0.2")
    site = f"{installed['AMENT_PREFIX_PATH']}/share/mola_bringup/sites/twin.yaml"
    assert parameters(processes["camera_wrist"]) == {"site": site, "camera": "wrist"}
    assert parameters(processes["camera_third_person"]) == {"site": site, "camera": "third_person"}
    assert parameters(processes["controller"]) == {"site": site}
    assert parameters(processes["policy"]) == {"site": site, "world_host": "127.0.0.2", "world_port": 30151}
    managed = ["camera_third_person", "camera_wrist", "controller", "policy"]
    timing = {"node_timeout_ms": 1000, "bring_up_timeout_s": 0.0}
    assert parameters(processes["lifecycle_manager"]) == {"managed_nodes": managed, **timing}


def test_every_process_is_started_again_when_it_dies(installed: dict[str, str]) -> None:
    for process in launched("twin.launch.xml", installed).processes:
        assert (process.respawn, process.respawn_delay_s, process.required) == (True, 1.0, False)


def test_nodes_run_under_their_names_in_the_namespace_of_the_graph(installed: dict[str, str]) -> None:
    nodes = launched("twin.launch.xml", installed, log_level="debug").processes[1:]
    for process in nodes:
        assert {f"__node:={process.name}", "__ns:=/mola", "debug"} <= set(map(str, process.argv))


def test_without_a_policy_nobody_waits_for_one(installed: dict[str, str]) -> None:
    processes = by_name(launched("twin.launch.xml", installed, policy="none"))
    assert "policy" not in processes
    managed = parameters(processes["lifecycle_manager"])["managed_nodes"]
    assert managed == ["camera_third_person", "camera_wrist", "controller"]


def test_everything_to_record_with_is_one_launch_file(installed: dict[str, str]) -> None:
    processes = by_name(launched("record.launch.xml", installed, store="/data", operator="ada"))
    assert list(processes) == [
        "twin",
        "camera_third_person",
        "camera_wrist",
        "controller",
        "episode_recorder",
        "lifecycle_manager",
    ]
    given = parameters(processes["episode_recorder"])
    assert (given["store"], given["operator"], given["instruction"]) == ("/data", "ada", "")
    managed = parameters(processes["lifecycle_manager"])["managed_nodes"]
    assert managed == ["camera_third_person", "camera_wrist", "controller", "episode_recorder"]
    rig = by_name(launched("record.launch.xml", installed, world="rig", site="/rig.yaml"))
    assert "twin" not in rig
    assert parameters(rig["episode_recorder"])["site"] == "/rig.yaml"


def test_a_person_moves_the_arm_of_twin_or_rig(installed: dict[str, str]) -> None:
    twin = by_name(launched("teleop.launch.xml", installed, device="gamepad", overlay="true", stop_within_ms="200"))
    assert list(twin) == [
        "twin",
        "camera_third_person",
        "camera_wrist",
        "controller",
        "reset_overlay",
        "teleop",
        "lifecycle_manager",
    ]
    given = parameters(twin["teleop"])
    assert (given["device"], given["stop_within_ms"], given["world_host"]) == ("gamepad", 200.0, "127.0.0.2")
    managed = parameters(twin["lifecycle_manager"])["managed_nodes"]
    assert managed[-2:] == ["reset_overlay", "teleop"]
    rig = by_name(launched("teleop.launch.xml", installed, world="rig", site="/rig.yaml"))
    assert list(rig) == ["camera_third_person", "camera_wrist", "controller", "teleop", "lifecycle_manager"]
    assert parameters(rig["teleop"])["site"] == "/rig.yaml"
    recorded = by_name(launched("record.launch.xml", installed, teleop="expert"))
    assert parameters(recorded["teleop"])["device"] == "expert"


def test_the_rig_has_no_site_of_its_own(installed: dict[str, str]) -> None:
    with pytest.raises(LaunchArgumentError, match=r"missing argument 'site' .*template\.yaml.* give site:=<value>"):
        launched("rig.launch.xml", installed)
    processes = by_name(launched("rig.launch.xml", installed, site="/rig.yaml"))
    assert list(processes) == ["camera_third_person", "camera_wrist", "controller", "lifecycle_manager"]
    assert parameters(processes["controller"]) == {"site": "/rig.yaml"}


def test_the_rig_takes_no_scripted_policy(installed: dict[str, str]) -> None:
    with pytest.raises(LaunchArgumentError, match="argument 'policy' must be one of none, mola; got 'scripted'"):
        launched("rig.launch.xml", installed, site="/rig.yaml", policy="scripted")


def test_a_site_whose_path_looks_like_a_number_stays_a_path(installed: dict[str, str]) -> None:
    assert parameters(by_name(launched("rig.launch.xml", installed, site="7"))["controller"]) == {"site": "7"}


def test_all_nodes_share_the_dds_profile_and_the_malloc_settings(installed: dict[str, str]) -> None:
    twin, *nodes = launched("twin.launch.xml", installed).processes
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in twin.environment
    for process in nodes:
        for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            assert Path(process.environment[variable]).samefile(LAUNCH / "dds/fastdds.xml")
        assert (
            process.environment["MALLOC_MMAP_THRESHOLD_"]
            == process.environment["MALLOC_TRIM_THRESHOLD_"]
            == "268435456"
        )
        assert process.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_the_shell_may_widen_discovery(installed: dict[str, str]) -> None:
    plan = launched("twin.launch.xml", {**installed, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"})
    assert plan.processes[-1].environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"


def test_a_segment_holds_two_of_the_largest_messages() -> None:
    names = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    descriptor = ET.parse(LAUNCH / "dds/fastdds.xml").find(".//dds:transport_descriptor[dds:type='SHM']", names)  # noqa: S314
    assert descriptor is not None
    sizes = {name: int(descriptor.findtext(f"dds:{name}", "", names)) for name in ("segment_size", "maxMessageSize")}
    assert sizes["maxMessageSize"] >= 8 * 640 * 480 * 3
    assert sizes["segment_size"] >= 2 * sizes["maxMessageSize"]


# --- the template of a site

HOLES: dict[str, Any] = {
    "name": "lab",
    "arm.host": "192.0.2.1",
    "arm.home": [0.0, -1.57, 1.57, -1.57, -1.57, 0.0],
    "arm.tcp_offset": [0.0, 0.0, 0.16, 0.0, 0.0, 0.0],
    "arm.payload_kg": 1.0,
    "arm.payload_cog": [0.0, 0.0, 0.06],
    "workspace.tcp_min": [-0.5, -0.5, 0.0],
    "workspace.tcp_max": [0.5, 0.5, 0.5],
    "workspace.table_z": 0.0,
    "gripper.host": "192.0.2.1",
    "cameras.third_person.serial": "1",
    "cameras.wrist.serial": "2",
    "cameras.third_person.base_from_camera": [0.0, 0.0, 1.0, 3.14, 0.0, 0.0],
    "cameras.wrist.tcp_from_camera": [0.0, -0.08, -0.1, 0.0, 0.0, 0.0],
}


def site_without(path: Path, *empty: str) -> Path:
    """The template with its holes filled, but for ``empty``."""
    content = yaml.safe_load((LAUNCH / "sites/template.yaml").read_text())
    for key, value in HOLES.items():
        *sections, name = key.split(".")
        section = content
        for part in sections:
            section = section[part]
        assert section[name] is None, f"{key} is not left empty"
        section[name] = None if key in empty else value
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_template_is_refused_with_the_names_of_its_holes() -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(LAUNCH / "sites/template.yaml")
    for key in HOLES:
        name = key.split(".")[-1]
        assert name in str(caught.value) or name.endswith("_from_camera")


@pytest.mark.parametrize("key", HOLES)
def test_every_hole_of_the_template_must_be_filled(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=key.rsplit(".", maxsplit=1)[-1]):
        load_site(site_without(tmp_path / "site.yaml", key))


def test_the_filled_template_is_a_site(tmp_path: Path) -> None:
    site = load_site(site_without(tmp_path / "site.yaml"))
    assert set(site.cameras) == {"third_person", "wrist"}


def test_the_template_has_no_hole_that_is_not_listed_here() -> None:
    def holes(content: dict[str, Any], prefix: str = "") -> set[str]:
        found = {f"{prefix}{key}" for key, value in content.items() if value is None}
        for key, value in content.items():
            found |= holes(value, f"{prefix}{key}.") if isinstance(value, dict) else set()
        return found

    assert holes(yaml.safe_load((LAUNCH / "sites/template.yaml").read_text())) == set(HOLES)


def test_the_learned_policy_runs_in_two_processes_or_in_one(installed: dict[str, str]) -> None:
    two = by_name(launched("twin.launch.xml", installed, policy="mola", bundle="small/1"))
    assert {"bundle_manager", "imagination", "policy"} <= two.keys()
    assert parameters(two["bundle_manager"])["bundle"] == "small/1"
    managed = parameters(two["lifecycle_manager"])["managed_nodes"]
    assert managed[-3:] == ["bundle_manager", "imagination", "policy"]
    one = by_name(launched("twin.launch.xml", installed, policy="mola", composed="true"))
    assert "mola_process" in one
    assert not {"imagination", "policy"} & one.keys()
    assert not any("__node" in str(word) for word in one["mola_process"].argv), "each node keeps its own name"
