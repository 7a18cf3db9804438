"""The arm's measured and commanded state on the graph at 62.5 Hz, and the servo's gripper targets to the gripper, from one
steady thread.
"""

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from std_msgs.msg import Bool, Float64

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.site import ArmSpec
from mola_core.control.link_records import ServoStatus
from mola_drivers.gripper.protocol import Gripper
from mola_nodes import graph
from mola_nodes.conversions.motion import (
    joint_state_message,
    message_from_commanded,
    message_from_robot_state,
    tcp_pose_message,
)
from mola_nodes.conversions.servo import commanded_of, robot_state_of
from mola_nodes.lifecycle import MolaNode
from mola_nodes.servo_supervisor import SupervisedStatus
from mola_nodes.turns import TurnThread

RATE_HZ = 62.5
_PERIOD_NS = round(NS_PER_S / RATE_HZ)
STANDARD_EVERY = 4
"""Visualisers need no more than every fourth state."""


class StatePublisher:
    """Runs while entered. Nothing is published while the servo process measures nothing new."""

    def __init__(
        self,
        node: MolaNode,
        *,
        status: Callable[[], SupervisedStatus],
        arm: ArmSpec,
        gripper: Gripper,
        clock: Clock,
        stack: ExitStack,
    ) -> None:
        self._status = status
        self._tcp_offset = arm.tcp_offset
        self._gripper = gripper
        self._clock = clock
        self._state = node.open_publisher(graph.ROBOT_STATE, stack)
        self._commanded = node.open_publisher(graph.COMMANDED, stack)
        self._joints = node.open_publisher(graph.JOINT_STATES, stack)
        self._pose = node.open_publisher(graph.TCP_POSE, stack)
        self._scaling = node.open_publisher(graph.SPEED_SCALING, stack)
        self._program = node.open_publisher(graph.PROGRAM_RUNNING, stack)
        self._sequence = 0
        self._stamp_ns = 0
        self._gripper_target: float | None = None
        self._program_running: bool | None = None
        self._deadline_ns = 0
        self._thread = TurnThread(
            self._wait_and_publish, name="state publisher", troubles=node.troubles("state publisher")
        )

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)

    def _wait_and_publish(self) -> None:
        self._clock.sleep_until(self._deadline_ns)
        self._deadline_ns = max(self._deadline_ns + _PERIOD_NS, self._clock.monotonic_ns())
        servo = self._status().servo
        if servo is not None and servo.measured_stamp_ns > self._stamp_ns:
            self._stamp_ns = servo.measured_stamp_ns
            self._publish(servo)
            self._move_gripper(servo.gripper_target)
        self._note_program(servo is not None and servo.program_running)

    def _publish(self, servo: ServoStatus) -> None:
        state = robot_state_of(servo, gripper_opening=self._gripper.state().opening)
        self._sequence += 1
        self._state.publish(message_from_robot_state(state, sequence=self._sequence))
        commanded = commanded_of(servo, tcp_offset=self._tcp_offset)
        self._commanded.publish(message_from_commanded(commanded, sequence=self._sequence))
        if self._sequence % STANDARD_EVERY == 0:
            self._joints.publish(joint_state_message(state))
            self._pose.publish(tcp_pose_message(state))
            self._scaling.publish(Float64(data=float(state.speed_scaling)))

    def _move_gripper(self, target: float | None) -> None:
        if target is not None and target != self._gripper_target:
            self._gripper.move(opening=target)
        self._gripper_target = target

    def _note_program(self, running: bool) -> None:
        if running != self._program_running:
            self._program.publish(Bool(data=running))
            self._program_running = running
