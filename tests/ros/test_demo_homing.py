"""The way home: an arm that stops half-way is resumed and goes on from there, and what keeps it from home is said."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from mola_interfaces.msg import ActionChunk as ActionChunkMsg
from mola_interfaces.msg import ServoStatus
from std_msgs.msg import String

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site
from mola_core.contracts.types import ActionSpace, RobotMode, RobotState, SafetyMode, StampDomain
from mola_nodes import graph
from mola_nodes.conversions.motion import chunk_from_message, message_from_robot_state
from mola_nodes.demo.homing import Homing

PERIOD_S = 0.02
SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
HOME = np.array(SITE.arm.home)
LOW = np.array([0.4, 0.0, 0.35, np.pi, 0.0, 0.0])
STALE = "stale: the newest input is 151 ms old"


class FakeRig:
    """An arm that is where its chunks want it at once, and the operator who resumes it; it is heard every 20 ms.

    With the next chunk in the first space of ``stops`` the arm stops as stale, and so on. One that is ``stuck`` does not move.
    """

    def __init__(self, *, stops: tuple[ActionSpace, ...] = (), stuck: bool = False) -> None:
        self.joints, self.pose = HOME + 0.2, LOW.copy()
        self.resumes = 0
        self.moved: list[tuple[int, ActionSpace]] = []
        """How often it had been resumed, and in which space it was moved then; each once."""
        self.node = SimpleNamespace(create_publisher=lambda *_: SimpleNamespace(publish=self._take))
        self._stops, self._stuck = list(stops), stuck
        self._state, self._reason = ServoStatus.STOPPED, "not resumed yet"
        self._heard: dict[str, list[Callable[[Any], object]]] = {}
        self._clock, self._done = SystemClock(), threading.Event()
        self._thread = threading.Thread(target=self._say_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def subscribe(self, topic: graph.Topic, callback: Callable[[Any], object]) -> None:
        self._heard.setdefault(topic.name, []).append(callback)

    def resume(self) -> None:
        """Engaged at once; who listens hears of it with the next message only."""
        self.resumes += 1
        self._state, self._reason = ServoStatus.HOLDING, ""

    def wait_for(self, condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        deadline_ns = self._clock.monotonic_ns() + round(timeout_s * 1e9)
        while not condition():
            if self._clock.monotonic_ns() > deadline_ns:
                raise MolaError(f"gave up waiting for {what}")
            self._done.wait(PERIOD_S / 4)

    def _take(self, message: ActionChunkMsg) -> None:
        if self._state not in {ServoStatus.HOLDING, ServoStatus.EXECUTING}:
            return
        chunk = chunk_from_message(message)
        if (self.resumes, chunk.space) not in self.moved:
            self.moved.append((self.resumes, chunk.space))
        if self._stops[:1] == [chunk.space]:
            self._stops.pop(0)
            self._state, self._reason = ServoStatus.STOPPED, STALE
            return
        self._state = ServoStatus.HOLDING if chunk.final else ServoStatus.EXECUTING
        row = int(np.clip((self._clock.now_ns() - chunk.start_ns) // chunk.period_ns, 0, len(chunk.targets) - 1))
        if self._stuck:
            return
        if chunk.space is ActionSpace.TCP:
            self.pose = chunk.targets[row]
        else:
            self.joints = chunk.targets[row]

    def _say_on(self) -> None:
        while not self._done.wait(PERIOD_S):
            for role in SITE.cameras:
                self._say(graph.camera_topics(role).color_metadata, self._metadata())
            self._say(graph.ROBOT_STATE, message_from_robot_state(self._measured(), sequence=0))
            self._say(graph.SERVO_STATUS, ServoStatus(state=self._state, reason=self._reason))

    def _say(self, topic: graph.Topic, message: object) -> None:
        for callback in self._heard.get(topic.name, []):
            callback(message)

    def _metadata(self) -> String:
        now_ns = self._clock.now_ns()
        content = {"stamp_ns": now_ns, "received_ns": now_ns, "stamp_domain": StampDomain.HOST_EPOCH.value}
        return String(data=json.dumps(content))

    def _measured(self) -> RobotState:
        return RobotState(
            stamp_ns=self._clock.now_ns(),
            joint_positions=self.joints,
            joint_velocities=np.zeros(6),
            base_from_tcp=self.pose,
            gripper_opening=None,
            robot_mode=RobotMode.RUNNING,
            safety_mode=SafetyMode.NORMAL,
            speed_scaling=1.0,
        )


@pytest.fixture
def said() -> list[str]:
    return []


def homing_of(rig: FakeRig, said: list[str]) -> Homing:
    operator: Any = rig
    patient = SITE.safety.model_copy(update={"stale_ms": 2000})  # of a busy machine's threads, nobody's subject here
    return Homing(SITE.model_copy(update={"safety": patient}), operator=operator, say=said.append)


def test_the_arm_is_lifted_and_brought_home_in_one_go(said: list[str]) -> None:
    with FakeRig() as rig:
        homing_of(rig, said).go()
        assert np.abs(rig.joints - HOME).max() < 0.05
        assert rig.pose[2] == pytest.approx(0.4, abs=1e-3)
    assert (rig.moved, said) == ([(1, ActionSpace.TCP), (1, ActionSpace.JOINT)], [])


def test_an_arm_that_is_at_home_is_resumed_and_not_moved(said: list[str]) -> None:
    with FakeRig() as rig:
        rig.joints = HOME + 0.01
        homing_of(rig, said).go()
    assert (rig.resumes, rig.moved, said) == (1, [], [])


def test_an_arm_that_stops_half_way_is_resumed_and_goes_on_from_there(said: list[str]) -> None:
    with FakeRig(stops=(ActionSpace.TCP, ActionSpace.JOINT)) as rig:
        homing_of(rig, said).go()
        assert np.abs(rig.joints - HOME).max() < 0.05
    assert said == [f"on the way home: the arm is stopped ({STALE}); resume it; once more"] * 2
    assert rig.moved == [(1, ActionSpace.TCP), (2, ActionSpace.TCP), (2, ActionSpace.JOINT), (3, ActionSpace.JOINT)]


def test_after_three_attempts_it_is_said_what_ended_the_last(said: list[str]) -> None:
    lost = pytest.raises(MolaError, match=r"not get home in 3 attempts; the last: the arm is stopped \(stale: ")
    with FakeRig(stops=(ActionSpace.TCP,) * 4) as rig, lost:
        homing_of(rig, said).go()
    assert (rig.resumes, len(said)) == (3, 2)


def test_an_arm_that_does_not_follow_is_not_said_to_be_at_home(said: list[str]) -> None:
    lost = pytest.raises(MolaError, match="the last: gave up waiting for the arm to be at home")
    with FakeRig(stuck=True) as rig, lost:
        rig.pose[2] = 0.5
        homing_of(rig, said).go()
    assert rig.resumes == 3
