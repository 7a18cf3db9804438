"""What ``mola teleop`` makes of its options."""

import argparse
from pathlib import Path

import pytest

from mola_core.contracts.errors import ConfigError
from mola_nodes.teleop.command import node_arguments, register, run


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    return parser.parse_args(["teleop", *words])


def test_options_become_the_nodes_parameters():
    words = node_arguments(
        parsed("--device", "gamepad", "--stop-within-ms", "200", "--frame", "tool"), Path("/site.yaml")
    )
    assert words[::2] == ["-p"] * (len(words) // 2)
    values = dict(word.split(":=") for word in words[1::2])
    assert values["device"] == "gamepad"
    assert values["stop_within_ms"] == "200.0"  # a whole number would be of another type for ROS
    assert values["frame"] == "tool"
    assert values["start_active"] == "true"


def test_a_rig_without_its_site_is_refused():
    with pytest.raises(ConfigError, match="--up rig needs --site"):
        run(parsed("--up", "rig"))


def test_an_unknown_frame_is_refused():
    with pytest.raises(SystemExit):
        parsed("--frame", "world")
