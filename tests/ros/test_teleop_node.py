"""A scripted person at the real node, the real controller node and the twin's controller."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from lifecycle_msgs.msg import Transition
from mola_interfaces.msg import ServoStatus
from mola_interfaces.srv import Resume, ShowFirstFrame
from ros_graph import difference
from ros_probe import Probe
from ros_rig import HOST, write_site
from std_srvs.srv import Trigger

from mola_core.contracts.clock import NS_PER_MS, SystemClock
from mola_core.contracts.teleop import HAND_SOURCE
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_nodes import graph
from mola_nodes.conversions.motion import message_from_chunk, robot_state_from_message
from mola_twin.fault_client import FaultClient

StartNode = Callable[..., "Popen[str]"]
CLOCK = SystemClock()
PUSH, STILL = [0.0, 0.05, 0.0, 0.0, 0.0, 0.0], [0.0] * 6
IDLE = {"duration_s": 1.0, "velocity": STILL, "enabled": False}
HOLD = {"duration_s": 4.0, "velocity": STILL}


def script(*steps: dict[str, Any]) -> dict[str, Any]:
    """A person who opens the switch, plays ``steps``, and does it again, as after a stop of the arm on a crowded machine."""
    return {"kind": "scripted", "steps": [IDLE, *steps] * 40}


class Table:
    """An active controller node, resumed, and a device beside it."""

    def __init__(self, probe: Probe, start_node: StartNode, *, site: Path, folder: Path) -> None:
        self.probe = probe
        self._start_node = start_node
        self._site, self._folder = site, folder
        self.servo = probe.collect(graph.SERVO_STATUS)
        self.states = probe.collect(graph.ROBOT_STATE)
        self.commanded = probe.collect(graph.COMMANDED)
        self.statuses = probe.collect(graph.TELEOP_STATUS)

    def resume(self) -> None:
        def engaged() -> bool:
            if self.servo and self.servo[-1].state == ServoStatus.STOPPED:
                self.probe.call(Resume, graph.RESUME.name, Resume.Request(operator_name="test"))
            return bool(self.servo) and self.servo[-1].state == ServoStatus.HOLDING

        self.probe.wait(engaged, "the servo to engage")
        self.probe.wait(lambda: self.states and self.states[-1].has_gripper_opening, "the gripper's word")

    def take(self, device: dict[str, Any] | str, **parameters: object) -> "Popen[str]":
        """Start the teleoperation node with this device."""
        if not isinstance(device, str):
            path = self._folder / "device.json"
            path.write_text(json.dumps(device))
            device = str(path)
        return self._start_node(
            "teleop_node", name="teleop", site=self._site, device=device, start_active=True, **parameters
        )

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Until ``condition`` holds; an arm that was stopped because the machine was too busy is resumed meanwhile."""

        def resumed() -> Any:
            if self.servo[-1].state in {ServoStatus.STOPPED, ServoStatus.OFFLINE}:
                self.probe.call(Resume, graph.RESUME.name, Resume.Request(operator_name="test"))
            return condition()

        return self.probe.wait(resumed, lambda: f"{what}; {self.servo[-1]}; {self.statuses[-1:]}", timeout_s=120.0)

    def wait_engaged(self) -> None:
        self.wait(lambda: self.statuses and self.statuses[-1].engaged, "the device to engage")

    @property
    def joints(self) -> np.ndarray:
        return robot_state_from_message(self.states[-1]).joint_positions


@pytest.fixture
def site(recording: Path, tmp_path: Path) -> Path:
    """The usual one, but more patient: what is tested is what happens, on however crowded a machine."""
    path = write_site(tmp_path / "site.yaml", recording=recording)
    content = yaml.safe_load(path.read_text())
    content["arm"]["servo"] = {"watchdog_hz": 10}
    content["safety"] = {"stale_ms": 1000, "max_observation_age_ms": 3000, "heartbeat_ms": 1000}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def table(twin: None, site: Path, start_node: StartNode, probe: Probe, tmp_path: Path) -> Iterator[Table]:
    start_node("controller_node", name="controller", site=site)
    assert probe.transition("/mola/controller", Transition.TRANSITION_CONFIGURE)
    assert probe.transition("/mola/controller", Transition.TRANSITION_ACTIVATE)
    made = Table(probe, start_node, site=site, folder=tmp_path)
    made.resume()
    yield made
    assert probe.transition("/mola/controller", Transition.TRANSITION_DEACTIVATE)


def test_a_push_moves_the_arm_and_letting_go_leaves_it_engaged(table: Table) -> None:
    start = table.joints
    table.take(script({"duration_s": 1.5, "velocity": PUSH, "gripper_opening": 0.4}))
    table.wait_engaged()
    table.wait(lambda: any(state.source == "teleop/scripted" for state in table.commanded), "its chunks in force")

    def released() -> bool:
        servo = table.servo[-1]
        return (servo.state, servo.reason) == (ServoStatus.HOLDING, "released")

    table.wait(released, "the release")
    assert np.abs(table.joints - start).max() > 0.03
    table.wait(lambda: table.states[-1].gripper_opening == pytest.approx(0.4, abs=0.03), "the gripper")
    assert not any(status.takeover for status in table.statuses)


def test_a_policy_is_refused_while_a_person_holds_the_arm(table: Table) -> None:
    table.take(script({**HOLD, "duration_s": 60.0}))
    table.wait_engaged()
    chunks = table.probe.publisher(graph.ACTION_CHUNK)
    sequence = iter(range(1000))

    def ask() -> bool:
        now_ns = CLOCK.now_ns()
        chunk = ActionChunk(
            sequence=next(sequence),
            source="policy",
            bundle_id="",
            stamp_ns=now_ns,
            alive_stamp_ns=now_ns,
            start_ns=now_ns,
            period_ns=50 * NS_PER_MS,
            space=ActionSpace.JOINT,
            targets=np.tile(table.joints, (12, 1)),
            gripper_openings=np.ones(12),
            execute_steps=6,
            final=False,
        )
        chunks.publish(message_from_chunk(chunk))
        return "has taken over; release its deadman" in table.servo[-1].last_rejection

    table.wait(ask, "the policy's chunk to be refused")
    assert table.commanded[-1].source == "teleop/scripted"


def test_speed_and_frame_change_by_service_and_the_running_node_is_the_declared_one(table: Table) -> None:
    table.take(script(HOLD), speed_scale=0.5)
    table.wait_engaged()
    for service in (graph.TELEOP_FASTER, graph.TELEOP_NEXT_FRAME):
        assert table.probe.call(Trigger, service.name, Trigger.Request()).success
    table.probe.wait(
        lambda: (table.statuses[-1].speed_scale, table.statuses[-1].frame) == (0.625, "tool"), "the change"
    )
    node = graph.teleop_node()
    table.probe.wait(lambda: not difference(table.probe.node, node), lambda: difference(table.probe.node, node))


def test_the_arm_is_guided_by_hand_while_the_switch_is_held(table: Table) -> None:
    """Through the real ur_rtde: the drives give way, the twin's arm is pushed, and it is engaged where it was left."""
    start = table.joints
    table.take({"kind": "freedrive", "switch": script(HOLD)})
    table.wait(lambda: table.servo[-1].state == ServoStatus.GUIDED, "guidance")
    with FaultClient(HOST) as twin:
        twin.push([6.0, 0.0, 0.0, 0.0, 0.0, 0.0], seconds=0.5)
    table.wait(lambda: abs(table.joints[0] - start[0]) > 0.02, "the arm to give way")
    assert any(state.source == HAND_SOURCE for state in table.commanded)
    table.wait(lambda: table.servo[-1].state == ServoStatus.HOLDING, "the end")
    table.wait(
        lambda: np.abs(np.array(table.commanded[-1].joint_positions) - table.joints).max() < 0.01,
        "the command where the arm is",
    )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"device": "joystick"}, "device 'joystick' is not known"),
        ({"device": "spacemouse"}, "no SpaceMouse is plugged in"),
        ({"device": "keyboard", "frame": "world"}, "'frame' must be one of base, tool, camera, got 'world'"),
        ({"device": "keyboard", "view": "front"}, "no camera 'front'"),
        ({"device": "keyboard", "stop_within_ms": 100.0}, "cannot rest within 100 ms"),
        ({"device": "expert", "world_host": "127.0.1.99"}, "the expert sees no scene"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_moves(
    parameters: dict[str, Any], said: str, site: Path, start_node: StartNode, probe: Probe, tmp_path: Path
) -> None:
    start_node("teleop_node", name="teleop", site=site, start_active=True, **parameters)
    probe.wait(lambda: said in (tmp_path / "teleop.0.log").read_text(), f"{said!r} in its log")


def test_the_first_frame_lies_over_the_live_view(
    site: Path, start_node: StartNode, probe: Probe, tmp_path: Path
) -> None:
    frame = np.zeros((120, 160, 3), dtype=np.uint8)
    frame[:, :, 2] = 255  # red, as OpenCV writes it
    cv2.imwrite(str(tmp_path / "first.png"), frame)
    start_node("camera_node", name="camera_third_person", site=site, camera="third_person")
    start_node("reset_overlay_node", name="reset_overlay", site=site, first_frame=tmp_path / "first.png", rate_hz=30.0)
    for node in ("camera_third_person", "reset_overlay"):
        assert probe.transition(f"/mola/{node}", Transition.TRANSITION_CONFIGURE)
    overlays = probe.collect(graph.RESET_OVERLAY)
    for node in ("reset_overlay", "camera_third_person"):
        assert probe.transition(f"/mola/{node}", Transition.TRANSITION_ACTIVATE)
    overlay = probe.wait(lambda: overlays[-1] if overlays else None, "an overlay")
    pixels = np.array(overlay.data).reshape(overlay.height, overlay.width, 3)
    assert pixels[:, 0, 0].mean() == pytest.approx(127.5, abs=2.0)  # columns count up from 0 in red
    assert pixels[:, :, 1].max() < 128

    declared = graph.reset_overlay_node("third_person")
    probe.wait(lambda: not difference(probe.node, declared), lambda: difference(probe.node, declared))
    saved = tmp_path / "now.png"
    request = ShowFirstFrame.Request(path=str(tmp_path / "first.png"), save_to=str(saved))
    assert probe.call(ShowFirstFrame, graph.SHOW_FIRST_FRAME.name, request).success
    assert cv2.imread(str(saved)).shape == (overlay.height, overlay.width, 3)
    for request, said in (
        (ShowFirstFrame.Request(path=str(tmp_path / "absent.png")), "does not exist; give a PNG or the folder"),
        (ShowFirstFrame.Request(path=str(site)), "is no image"),
        (ShowFirstFrame.Request(path="", save_to=str(tmp_path / "now.bmp")), "must end in .png"),
    ):
        answer = probe.call(ShowFirstFrame, graph.SHOW_FIRST_FRAME.name, request)
        assert not answer.success
        assert said in answer.message
