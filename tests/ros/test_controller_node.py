"""The controller node, its servo process and a UR controller (the twin's), all real processes."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from mola_interfaces.msg import NodeHeartbeat, ServoStatus
from mola_interfaces.srv import Resume, Stop
from ros_probe import Probe

from mola_core.contracts.clock import NS_PER_MS, SystemClock
from mola_core.contracts.types import ActionChunk, ActionSpace, RobotState
from mola_nodes import graph
from mola_nodes.conversions.motion import commanded_from_message, message_from_chunk, robot_state_from_message
from mola_nodes.conversions.wire import time_from_ns

StartNode = Callable[..., "Popen[str]"]
CONTROLLER = "/mola/controller"
CLOCK = SystemClock()
OPENING = 0.6
MAX_REPORTS = 400


class Rig:
    """An active controller node, seen and driven through the graph alone."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.statuses = probe.collect(graph.SERVO_STATUS)
        self.states = probe.collect(graph.ROBOT_STATE)
        self._chunks = probe.publisher(graph.ACTION_CHUNK)
        self._sequence = 0

    @property
    def status(self) -> ServoStatus:
        return self.statuses[-1]

    @property
    def state(self) -> RobotState:
        return robot_state_from_message(self.states[-1])

    def wait_state(self, state: int, *, while_doing: Callable[[], None] = lambda: None) -> ServoStatus:
        """Until the servo says that it is in ``state``, doing something between two of its reports (20 Hz)."""
        for _ in range(MAX_REPORTS):
            num_reports = len(self.statuses)
            while_doing()
            self._probe.wait(lambda num=num_reports: len(self.statuses) > num, "a report of the servo")
            if self.status.state == state:
                return self.status
        pytest.fail(f"servo did not get to state {state}: {self.status}; {self.states[-1:]}")

    def resume(self) -> None:
        """As an operator does: again if the servo process was started anew meanwhile (it is, on a crowded machine)."""

        def ask() -> None:
            if self.statuses and self.status.state == ServoStatus.STOPPED:
                request = Resume.Request(operator_name="test")
                assert self._probe.call(Resume, graph.RESUME.name, request).success

        self.wait_state(ServoStatus.HOLDING, while_doing=ask)
        self._probe.wait(lambda: self.states, "a robot state")

    def send(self, **changes: Any) -> None:
        """A chunk that holds where the arm is, stamped now, except for ``changes``."""
        now_ns = CLOCK.now_ns()
        self._sequence += 1
        chunk = ActionChunk(
            sequence=self._sequence,
            source="test",
            bundle_id="",
            stamp_ns=now_ns,
            alive_stamp_ns=now_ns,
            start_ns=now_ns,
            period_ns=50 * NS_PER_MS,
            space=ActionSpace.JOINT,
            targets=np.tile(self.state.joint_positions, (12, 1)),
            gripper_openings=np.full(12, 0.5),
            execute_steps=6,
            final=False,
        )
        self._chunks.publish(message_from_chunk(replace(chunk, **changes)))


@pytest.fixture
def rig(twin: None, site: Path, start_node: StartNode, probe: Probe) -> Iterator[Rig]:
    controller = start_node("controller_node", name="controller", site=site)
    assert probe.transition(CONTROLLER, Transition.TRANSITION_CONFIGURE)
    assert probe.transition(CONTROLLER, Transition.TRANSITION_ACTIVATE)
    yield Rig(probe)
    assert probe.transition(CONTROLLER, Transition.TRANSITION_DEACTIVATE)
    assert probe.state(CONTROLLER) == "inactive"
    assert controller.poll() is None


def motion_chunk(rig: Rig, *, goal: np.ndarray) -> Callable[[], None]:
    """Sends one plan of 1.2 s to ``goal``, again and again with fresh stamps, as a policy does."""
    start, start_ns = rig.state.joint_positions, CLOCK.now_ns()
    fractions = np.clip(np.linspace(0.0, 1.5, 24), 0.0, 1.0)[:, None]
    targets = start + (goal - start) * fractions

    def send() -> None:
        rig.send(
            start_ns=start_ns, targets=targets, gripper_openings=np.full(24, OPENING), execute_steps=24, final=True
        )

    return send


def test_chunks_move_arm_and_gripper(rig: Rig, probe: Probe) -> None:
    joints, poses = probe.collect(graph.JOINT_STATES), probe.collect(graph.TCP_POSE)
    running, reports = probe.collect(graph.PROGRAM_RUNNING), probe.collect(graph.LATENCY)
    rig.resume()
    goal = rig.state.joint_positions + np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.1])
    send = motion_chunk(rig, goal=goal)

    executing = rig.wait_state(ServoStatus.EXECUTING, while_doing=send)
    assert (executing.source, executing.version) == ("test", ServoStatus.VERSION)
    holding = rig.wait_state(ServoStatus.HOLDING, while_doing=send)
    assert holding.reason == "finished"
    assert holding.chunks_accepted > 0
    assert holding.rate_hz > 0
    probe.wait(
        lambda: np.abs(rig.state.joint_positions - goal).max() < 2e-3,
        "the arm to arrive",
    )
    probe.wait(lambda: rig.state.gripper_opening == pytest.approx(OPENING, abs=0.03), "the gripper to arrive")
    assert running[-1].data is True
    probe.wait(lambda: joints and poses, "the standard topics")
    assert len(joints[-1].position) == len(joints[-1].velocity) == 6
    assert poses[-1].header.frame_id == "base"
    probe.wait(lambda: any(report.hops[0].count for report in reports), "a latency report")
    assert reports[-1].hops[0].name == "camera to servo"
    counts = Counter[str]()
    for report in reports:
        counts.update({hop.name: hop.count for hop in report.hops})
    assert counts["chunk sent to chunk received"] > 10
    assert counts["oldest input to chunk sent"] == 1, "the plan said again is not a decision that took longer"


def test_what_is_commanded_is_published_with_its_source(rig: Rig, probe: Probe) -> None:
    messages = probe.collect(graph.COMMANDED)
    rig.resume()
    goal = rig.state.joint_positions + np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.1])
    rig.wait_state(ServoStatus.EXECUTING, while_doing=motion_chunk(rig, goal=goal))
    probe.wait(lambda: any(message.source == "test" for message in messages), "a command of the test's chunk")
    rig.wait_state(ServoStatus.HOLDING, while_doing=motion_chunk(rig, goal=goal))
    last = probe.wait(
        lambda: (
            np.abs(commanded_from_message(messages[-1]).joint_positions - goal).max() < 1e-6
            and commanded_from_message(messages[-1])
        ),
        "the command to arrive",
    )
    assert last.gripper_opening == pytest.approx(OPENING)
    probe.wait(lambda: np.abs(rig.state.base_from_tcp - last.base_from_tcp).max() < 2e-3, "the arm to arrive")
    sequences = [message.sequence for message in messages]
    assert sequences == sorted(set(sequences))


def test_silence_of_the_policy_stops_the_arm_until_resume(rig: Rig, probe: Probe) -> None:
    rig.resume()
    goal = rig.state.joint_positions - np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.1])
    rig.wait_state(ServoStatus.EXECUTING, while_doing=motion_chunk(rig, goal=goal))
    stopped = rig.wait_state(ServoStatus.STOPPED)
    assert stopped.reason.startswith("stale"), stopped.reason

    refused = stopped.chunks_rejected
    status = probe.wait(
        lambda: rig.send() or (rig.status if rig.status.chunks_rejected > refused else None), "a refusal"
    )
    assert "stopped; call the resume service" in status.last_rejection
    rig.resume()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": np.full((12, 6), np.nan)}, "not a usable number"),
        ({"targets": np.full((12, 6), 3.14159)}, "outside"),
        ({"alive_stamp_ns": 10**18, "stamp_ns": 10**18}, "stamp is stale"),
    ],
)
def test_refused_chunk_is_named_in_the_status(rig: Rig, probe: Probe, changes: dict[str, Any], said: str) -> None:
    rig.resume()
    before = rig.state.joint_positions
    rig.send(**changes)
    probe.wait(lambda: said in rig.status.last_rejection, f"{said!r} in the status")
    assert rig.status.state == ServoStatus.HOLDING
    np.testing.assert_allclose(rig.state.joint_positions, before, atol=1e-3)


def test_stop_service_and_silent_manager_stop_the_arm(rig: Rig, probe: Probe) -> None:
    rig.resume()
    assert probe.call(Stop, graph.STOP.name, Stop.Request(reason="operator pressed stop")).success
    assert rig.wait_state(ServoStatus.STOPPED).reason == "operator pressed stop"

    heart = probe.publisher(graph.HEARTBEAT)
    beat = NodeHeartbeat(version=NodeHeartbeat.VERSION, node="/mola/lifecycle_manager", pid=1)

    def beats() -> None:
        beat.stamp = time_from_ns(CLOCK.now_ns())
        heart.publish(beat)

    probe.wait(lambda: beats() or rig.status.heartbeat_age_ms >= 0, "the heart to be heard")
    rig.wait_state(ServoStatus.STOPPED, while_doing=beats)
    # the probe's slow heart is silent for longer than the site allows, again and again
    answer = probe.call(Resume, graph.RESUME.name, Resume.Request())
    assert answer.success
    stopped = probe.wait(lambda: rig.status if "manager" in rig.status.reason else None, "the silence to be named")
    assert stopped.state == ServoStatus.STOPPED
