"""What rerun's viewer is given: the arm as the kinematics have it, every camera, paths, plans and numbers."""

import argparse
from collections import Counter
from math import cos, sin
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from episode_bags import write_episode
from rerun.chunk import RrdReader

from mola_core.contracts.errors import ConfigError
from mola_core.contracts.types import JOINT_NAMES
from mola_core.control.kinematics import forward_kinematics
from mola_core.data.conversion.convert import ConversionOptions, convert
from mola_core.data.lerobot.errors import DatasetError
from mola_core.viewing.datasets import tcp_offset_of
from mola_core.viewing.urdf import FINGER_JOINTS, FINGER_TRAVEL, ur5e_urdf
from mola_nodes.viewing import command

TOOL = (0.0, 0.0, 0.163, 0.0, 0.0, 0.0)
EPISODE = "20261126-120000-0001"


def turn(rpy):
    roll, pitch, yaw = rpy
    about_x = np.array([[1, 0, 0], [0, cos(roll), -sin(roll)], [0, sin(roll), cos(roll)]])
    about_y = np.array([[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]])
    about_z = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def link_pose(urdf, link, values):
    """``base_from_link``, by walking the file's joints."""
    joints = {joint.find("child").get("link"): joint for joint in urdf.findall("joint")}
    pose = np.eye(4)
    chain = []
    while link != "base":
        chain.append(joints[link])
        link = joints[link].find("parent").get("link")
    for joint in reversed(chain):
        step = np.eye(4)
        origin = joint.find("origin")
        step[:3, :3] = turn([float(word) for word in origin.get("rpy").split()])
        step[:3, 3] = [float(word) for word in origin.get("xyz").split()]
        value = values.get(joint.get("name"), 0.0)
        moved = np.eye(4)
        if joint.get("type") == "revolute":
            moved[:3, :3] = turn([0, 0, value])
        elif joint.get("type") == "prismatic":
            moved[:3, 3] = value * np.array([float(word) for word in joint.find("axis").get("xyz").split()])
        pose = pose @ step @ moved
    return pose


def test_the_urdf_has_the_arms_kinematics():
    urdf = fromstring(ur5e_urdf(tcp_offset=TOOL, gripper=True))  # noqa: S314  # written by us
    for joints in np.random.default_rng(0).uniform(-3, 3, (20, 6)):
        values = dict(zip(JOINT_NAMES, joints, strict=True))
        np.testing.assert_allclose(link_pose(urdf, "flange", values), forward_kinematics(joints), atol=1e-6)


def test_the_fingers_open():
    urdf = fromstring(ur5e_urdf(tcp_offset=TOOL, gripper=True))  # noqa: S314
    closed, wide = (dict.fromkeys(FINGER_JOINTS, value) for value in (0.0, FINGER_TRAVEL))
    for link in ("left_finger", "right_finger"):
        moved = np.linalg.norm(link_pose(urdf, link, wide)[:3, 3] - link_pose(urdf, link, closed)[:3, 3])
        assert moved == pytest.approx(FINGER_TRAVEL)
    assert "finger" not in ur5e_urdf(tcp_offset=TOOL, gripper=False)


def view(*words):
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    arguments = parser.parse_args(["view", *map(str, words)])
    return arguments.run(arguments)


def rows_by_entity(path):
    counts = Counter()
    for chunk in RrdReader(path).stream().to_chunks():
        counts[str(chunk.entity_path).lstrip("/")] += chunk.num_rows
    return counts


def test_an_episode_is_shown_whole(tmp_path, capsys):
    path = write_episode(tmp_path, EPISODE)
    assert view(path, "--save", tmp_path / "view.rrd") == 0
    assert "rerun" in capsys.readouterr().out
    rows = rows_by_entity(tmp_path / "view.rrd")
    frames = len(range(3, 1500, 33))
    assert rows["cameras/wrist"] == rows["cameras/third_person"] == rows["latency/wrist_ms"] == frames
    assert rows["world/path/commanded"] == rows["gripper/commanded"] == len(range(0, 1500, 16))
    assert rows["arm/joints/elbow_joint"] == rows["world/path/measured"] >= 40
    assert rows["world/plan"] == rows["latency/plan_ms"] == len([at for at in range(0, 1500, 16) if at % 160 == 0])
    assert rows["arm/joints/left_finger_joint"] >= 40
    assert rows["notes"] == 2
    assert rows["world/tcp/wrist"] == 2  # where it sits, and its lens


def test_a_dataset_is_shown_row_by_row(tmp_path):
    write_episode(tmp_path / "store", EPISODE)
    done = convert([tmp_path / "store" / EPISODE], tmp_path / "set", options=ConversionOptions())
    assert view(tmp_path / "set", "--save", tmp_path / "view.rrd") == 0
    rows = rows_by_entity(tmp_path / "view.rrd")
    assert rows["cameras/wrist"] == rows["arm/joints/elbow_joint"] == rows["gripper/measured"] == done.rows
    assert rows["world/plan"] == done.rows - 2  # the last rows have no future to show
    with pytest.raises(DatasetError, match="there is no episode 3"):
        view(tmp_path / "set", "--episode", "3", "--save", tmp_path / "other.rrd")
    assert not (tmp_path / "other.rrd").exists()


def test_the_tool_of_a_dataset_is_found_in_its_rows(tmp_path):
    class Rows:
        state = np.zeros((1, 13), dtype=np.float32)

    joints = np.array([0.3, -1.2, 1.4, -1.0, -1.5, 0.2])
    pose = forward_kinematics(joints, TOOL)
    Rows.state[0, :6], Rows.state[0, 6:9] = joints, pose[:3, 3]
    from mola_core.contracts.geometry import rotvec_from_rotation  # noqa: PLC0415

    Rows.state[0, 9:12] = rotvec_from_rotation(pose[:3, :3])
    np.testing.assert_allclose(tcp_offset_of(Rows), TOOL, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere is neither an episode, nor a dataset, nor the word live"),
        (("live", "--seconds", "0"), "--seconds 0.0 is not positive"),
    ],
)
def test_bad_words_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        view(*words)


def test_no_display_and_no_file_is_said(tmp_path, monkeypatch):
    path = write_episode(tmp_path, EPISODE)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ConfigError, match=r"no display .* give --save"):
        view(path)
    (tmp_path / "view.rrd").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists already"):
        view(path, "--save", tmp_path / "view.rrd")
    assert (tmp_path / "view.rrd").read_bytes() == b"mine"
