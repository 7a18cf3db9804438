"""The thread that says where the arm is: what the gripper refuses is told and asked for again, and a bug is never silent."""

import queue
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.errors import GripperError, MolaError
from mola_core.contracts.site import load_site
from mola_core.contracts.types import RobotMode, SafetyMode
from mola_core.control.link_records import STATUS_DTYPE, ServoStatus, status_of
from mola_nodes import graph
from mola_nodes.servo_supervisor import SupervisedStatus
from mola_nodes.state_publisher import StatePublisher
from mola_nodes.turns import Troubles

PATIENCE_S = 10.0
SITE = Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml"


class FakeNode:
    """Keeps what is published and told."""

    def __init__(self) -> None:
        self.published: dict[str, queue.Queue[Any]] = {}
        self.refused, self.bugs = queue.Queue[MolaError](), queue.Queue[BaseException]()

    def open_publisher(self, topic: graph.Topic, _stack: ExitStack) -> SimpleNamespace:
        messages = self.published[topic.name] = queue.Queue[Any]()
        return SimpleNamespace(publish=messages.put)

    def troubles(self, _what: str) -> Troubles:
        return Troubles(refused=self.refused.put, bug=self.bugs.put)


class FakeServo:
    """Measures anew whenever it is asked, until it raises what it is given."""

    def __init__(self, *, gripper_target: float = 0.5) -> None:
        self._gripper_target = gripper_target
        self._stamp_ns = 10**18
        self.error: Exception | None = None

    def status(self) -> SupervisedStatus:
        if self.error is not None:
            raise self.error
        self._stamp_ns += 1
        return SupervisedStatus(servo=self._measured(), pid=1, restarts=0, problem="")

    def _measured(self) -> ServoStatus:
        record = np.zeros((), dtype=STATUS_DTYPE)
        record["stamp_ns"] = record["measured_stamp_ns"] = self._stamp_ns
        record["robot_mode"], record["safety_mode"] = RobotMode.RUNNING, SafetyMode.NORMAL
        record["gripper_target"] = self._gripper_target
        return status_of(record)


class FakeGripper:
    """Refuses as often as it is told to."""

    def __init__(self, *, refusals: int = 0) -> None:
        self._refusals = refusals
        self.moves = queue.Queue[float]()

    def state(self) -> SimpleNamespace:
        return SimpleNamespace(opening=0.5)

    def move(self, *, opening: float) -> None:
        if self._refusals:
            self._refusals -= 1
            raise GripperError("the gripper is not activated")
        self.moves.put(opening)


def publisher_of(node: FakeNode, servo: FakeServo, gripper: FakeGripper, stack: ExitStack) -> StatePublisher:
    fakes: dict[str, Any] = {"status": servo.status, "gripper": gripper}
    anything: Any = node
    return StatePublisher(anything, arm=load_site(SITE).arm, clock=SystemClock(), stack=stack, **fakes)


def test_what_the_gripper_refuses_is_told_and_asked_for_again_while_the_state_goes_on() -> None:
    node, gripper = FakeNode(), FakeGripper(refusals=1)
    with ExitStack() as stack, publisher_of(node, FakeServo(), gripper, stack):
        assert str(node.refused.get(timeout=PATIENCE_S)) == "the gripper is not activated"
        assert gripper.moves.get(timeout=PATIENCE_S) == 0.5
        states = node.published[graph.ROBOT_STATE.name]
        assert [states.get(timeout=PATIENCE_S).sequence for _ in range(3)] == [1, 2, 3]
    assert node.bugs.empty()


@pytest.mark.parametrize(
    "bug", [ValueError("22 is not a valid RobotMode"), RuntimeError("the supervisor is not started")]
)
def test_a_bug_is_told(bug: Exception) -> None:
    node, servo = FakeNode(), FakeServo()
    with ExitStack() as stack, publisher_of(node, servo, FakeGripper(), stack):
        node.published[graph.ROBOT_STATE.name].get(timeout=PATIENCE_S)
        servo.error = bug
        assert node.bugs.get(timeout=PATIENCE_S) is bug
    assert node.refused.empty()
