"""What a request can and cannot do to a node."""

import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
from lifecycle_msgs.msg import Transition
from ros_probe import Probe

from mola_nodes import graph

CAMERA = "/mola/camera_wrist"
StartNode = Callable[..., "Popen[str]"]


@pytest.fixture
def camera(start_node: StartNode, tmp_path: Path) -> "Popen[str]":
    return start_node("camera_node", name="camera_wrist", site=tmp_path / "absent.yaml", camera="wrist")


def test_illegal_transition_is_refused_and_the_node_lives(camera: "Popen[str]", probe: Probe) -> None:
    assert not probe.transition(CAMERA, Transition.TRANSITION_ACTIVATE)
    assert not probe.transition(CAMERA, 200)
    assert probe.state(CAMERA) == "unconfigured"
    assert camera.poll() is None


def test_wrong_site_fails_configure_with_the_reason_in_the_heartbeat(camera: "Popen[str]", probe: Probe) -> None:
    beats = probe.collect(graph.NODE_HEARTBEATS)
    assert not probe.transition(CAMERA, Transition.TRANSITION_CONFIGURE)
    problem = probe.wait(lambda: beats and beats[-1].problem, "the problem")
    assert "absent.yaml cannot be read" in problem
    assert probe.state(CAMERA) == "unconfigured"


def test_shutdown_ends_the_process_with_zero(camera: "Popen[str]", probe: Probe) -> None:
    assert probe.transition(CAMERA, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert camera.wait(timeout=30) == 0


def test_interrupt_ends_the_process_with_zero(camera: "Popen[str]", probe: Probe) -> None:
    beats = probe.collect(graph.NODE_HEARTBEATS)
    probe.wait(lambda: beats, "a heartbeat")
    camera.send_signal(signal.SIGINT)
    assert camera.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"camera": "wrist", "site": "s", "camra": "x"}, "has no parameter 'camra'; did you mean 'camera'?"),
        ({"camera": "wrist"}, "parameter 'site' is missing"),
        ({"camera": 3, "site": "s"}, "parameter 'camera' must be of type string, got 3"),
    ],
)
def test_wrong_parameter_ends_the_process_with_one_line(
    start_node: StartNode, tmp_path: Path, parameters: dict[str, object], message: str
) -> None:
    process = start_node("camera_node", name="camera_wrist", **parameters)
    assert process.wait(timeout=30) == 2
    (log,) = tmp_path.glob("camera_wrist*.log")
    assert message in log.read_text()
    assert "Traceback" not in log.read_text()
