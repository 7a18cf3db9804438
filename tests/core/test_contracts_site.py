"""Site files: the shipped ones load, and every wrong one is refused with the key, the value and the cure."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.site import SafetySpec, load_site

TWIN_SITE = Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml"


@pytest.fixture
def content() -> dict[str, Any]:
    return yaml.safe_load(TWIN_SITE.read_text(encoding="utf-8"))


def refused(content: object, tmp_path: Path) -> str:
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_the_twins_site_loads() -> None:
    site = load_site(TWIN_SITE)
    assert site.arm.host.startswith("127.")
    assert set(site.cameras) == {"third_person", "wrist"}


@pytest.mark.parametrize("key", ["stale_ms", "max_observation_age_ms", "heartbeat_ms"])
def test_the_template_tells_the_defaults_as_they_are(key: str) -> None:
    template = (TWIN_SITE.parent / "template.yaml").read_text(encoding="utf-8")
    (line,) = (line for line in template.splitlines() if line.startswith(f"#   {key}:"))
    assert yaml.safe_load(line.removeprefix("#")) == {key: getattr(SafetySpec(), key)}


def test_a_missing_file_names_the_path_and_the_template(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*template"):
        load_site(tmp_path / "nowhere.yaml")


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("arm: [1, 2\nname: x", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML") as caught:
        load_site(path)
    assert "\n" not in str(caught.value)


def test_a_list_instead_of_sections_is_refused(tmp_path: Path) -> None:
    assert "mapping" in refused([1, 2], tmp_path)


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("arm", "hots", "10.0.0.2", "arm.hots"),
        ("arm", "payload_kg", 9.0, "arm.payload_kg"),
        ("arm", "home", [0.0, 0.0], "arm.home"),
        ("arm", "velocity_max", [0.0, 1.0, 1.0, 1.0, 1.0, 1.0], "velocity_max"),
        ("arm", "position_min", [3.0, -6.0, -3.0, -6.0, -6.0, -6.0], "home[0]"),
        ("arm", "payload_cog", [float("nan"), 0.0, 0.0], "payload_cog"),
        ("workspace", "tcp_min", [5.0, 0.0, 0.0], "tcp_min"),
        ("gripper", "kind", "vacuum", "gripper"),
        ("safety", "stale_ms", 5, "safety.stale_ms"),
    ],
)
def test_wrong_values_are_named(
    content: dict[str, Any], tmp_path: Path, section: str, key: str, value: object, expected: str
) -> None:
    content.setdefault(section, {})[key] = value
    assert expected in refused(content, tmp_path)


def test_the_address_has_no_default(content: dict[str, Any], tmp_path: Path) -> None:
    del content["arm"]["host"]
    assert "arm.host" in refused(content, tmp_path)


def test_a_real_camera_needs_its_serial(content: dict[str, Any], tmp_path: Path) -> None:
    camera = content["cameras"]["wrist"]
    camera["source"] = "realsense"
    camera.pop("host", None)
    camera.pop("port", None)
    assert "serial" in refused(content, tmp_path)


def test_a_camera_has_exactly_one_mount(content: dict[str, Any], tmp_path: Path) -> None:
    camera = content["cameras"]["wrist"]
    camera["base_from_camera"] = camera["tcp_from_camera"]
    assert "exactly one" in refused(content, tmp_path)


def test_camera_names_become_topics(content: dict[str, Any], tmp_path: Path) -> None:
    content["cameras"]["Wrist Cam"] = content["cameras"].pop("wrist")
    assert "Wrist Cam" in refused(content, tmp_path)


def test_all_problems_are_told_at_once(content: dict[str, Any], tmp_path: Path) -> None:
    del content["arm"]["host"]
    content["name"] = ""
    message = refused(content, tmp_path)
    assert "arm.host" in message
    assert "name" in message
