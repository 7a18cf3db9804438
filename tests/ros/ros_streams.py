"""Stands for cameras and controller: publishes what the recorder expects, at the rates of a site, without devices."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from mola_core.contracts.clock import SystemClock
from mola_core.contracts.types import (
    CameraIntrinsics,
    CommandedState,
    Frame,
    RobotMode,
    RobotState,
    SafetyMode,
    StampDomain,
)
from mola_nodes import graph
from mola_nodes.conversions import images, motion
from mola_nodes.state_publisher import RATE_HZ

CLOCK = SystemClock()
WIDTH, HEIGHT, FPS = 64, 48, 30
LATENCY_NS = 12_000_000
"""How old a frame is when it is sent."""
INTRINSICS = CameraIntrinsics(WIDTH, HEIGHT, 50.0, 50.0, 32.0, 24.0)


def frame(number: int, *, stamp_ns: int) -> Frame:
    color = np.full((HEIGHT, WIDTH, 3), number % 256, dtype=np.uint8)
    depth = np.full((HEIGHT, WIDTH), number, dtype=np.uint16)
    return Frame(stamp_ns, StampDomain.HOST_EPOCH, stamp_ns + 5, number, color, depth)


def robot_state(number: int, *, stamp_ns: int) -> RobotState:
    return RobotState(
        stamp_ns=stamp_ns,
        joint_positions=np.full(6, number / 1000),
        joint_velocities=np.zeros(6),
        base_from_tcp=np.arange(6.0),
        gripper_opening=0.5,
        robot_mode=RobotMode.RUNNING,
        safety_mode=SafetyMode.NORMAL,
        speed_scaling=1.0,
    )


def commanded_state(number: int, *, stamp_ns: int) -> CommandedState:
    return CommandedState(stamp_ns, np.full(6, number / 1000), np.arange(6.0), 0.25, "test", number, "")


class Streams:
    """Publishes from two threads while entered. ``camera_hz`` may be changed meanwhile."""

    def __init__(self, roles: tuple[str, ...] = ("third_person", "wrist")) -> None:
        self._roles = roles
        self.camera_hz = dict.fromkeys(roles, float(FPS))
        self.frames_sent: dict[str, list[int]] = {role: [] for role in roles}
        """Stamps."""
        self.states_sent: list[int] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node("streams", context=self._context)
        self._publish_mounts()
        for role in self._roles:
            self._begin(lambda role=role: self._camera(role))
        self._begin(self._states)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _begin(self, target: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=target, daemon=True))
        self._threads[-1].start()

    def _publisher(self, topic: graph.Topic) -> Any:
        return self._node.create_publisher(topic.type, topic.name, topic.qos)

    def _publish_mounts(self) -> None:
        self._mounts = [self._publisher(graph.camera_topics(role).mount) for role in self._roles]
        for role, publisher in zip(self._roles, self._mounts, strict=True):
            message = images.mount_message(
                np.eye(4), parent_frame="base", camera_frame=graph.optical_frame(role), stamp_ns=CLOCK.now_ns()
            )
            publisher.publish(message)

    def _camera(self, role: str) -> None:
        topics = graph.camera_topics(role)
        color, depth, metadata = map(self._publisher, (topics.color, topics.depth, topics.color_metadata))
        info = self._publisher(topics.color_info)
        number, due_s = 0, time.monotonic()
        while not self._stop.is_set():
            stamp_ns = CLOCK.now_ns() - LATENCY_NS
            picture = frame(number, stamp_ns=stamp_ns)
            metadata.publish(images.metadata_message(picture))
            color.publish(images.color_message(picture, frame_id=graph.optical_frame(role)))
            info.publish(images.camera_info_message(INTRINSICS, stamp_ns=stamp_ns, frame_id=graph.optical_frame(role)))
            depth.publish(images.depth_message(picture, frame_id=graph.optical_frame(role)))
            self.frames_sent[role].append(stamp_ns)
            number += 1
            due_s += 1 / self.camera_hz[role]
            time.sleep(max(due_s - time.monotonic(), 0))

    def _states(self) -> None:
        state, commanded = self._publisher(graph.ROBOT_STATE), self._publisher(graph.COMMANDED)
        number, due_s = 0, time.monotonic()
        while not self._stop.is_set():
            stamp_ns = CLOCK.now_ns()
            state.publish(motion.message_from_robot_state(robot_state(number, stamp_ns=stamp_ns), sequence=number))
            commanded.publish(
                motion.message_from_commanded(commanded_state(number, stamp_ns=stamp_ns), sequence=number)
            )
            self.states_sent.append(stamp_ns)
            number += 1
            due_s += 1 / RATE_HZ
            time.sleep(max(due_s - time.monotonic(), 0))
