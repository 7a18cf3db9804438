"""The running graph on the stage: subscribes beside it and shows what passes."""

import threading
from functools import partial

import numpy as np
import rerun
from mola_interfaces.msg import ActionChunk, CommandedState, LatencyReport, RobotState
from sensor_msgs.msg import CameraInfo, Image

from mola_core.contracts.clock import NS_PER_MS, SystemClock
from mola_core.contracts.geometry import transform_from_pose
from mola_core.contracts.site import NoGripperSpec, Site
from mola_core.viewing.episodes import show_chunk
from mola_core.viewing.stage import Stage
from mola_nodes import graph
from mola_nodes.conversions.images import color_from_message, intrinsics_from_message
from mola_nodes.conversions.motion import chunk_from_message, commanded_from_message, robot_state_from_message
from mola_nodes.conversions.wire import ns_from_time
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.environment import join_graph

_PICTURES_EVERY_NS = 60 * NS_PER_MS
"""Every second frame at 30 Hz: whoever looks must not take the cores of whoever acts."""
_ARM_EVERY_NS = 60 * NS_PER_MS


def show_live(recording: rerun.RecordingStream, *, site: Site, seconds: float | None) -> None:
    """Show the graph that runs in this shell's domain, until interrupted or for ``seconds``."""
    join_graph()
    stage = Stage(
        recording,
        tcp_offset=np.array(site.arm.tcp_offset),
        gripper=not isinstance(site.gripper, NoGripperSpec),
        cameras=tuple(site.cameras),
    )
    with OperatorClient(name="viewer") as operator:
        LiveView(stage, site=site).subscribe(operator)
        threading.Event().wait(seconds)


class LiveView:
    """Belongs to the thread that spins the operator."""

    def __init__(self, stage: Stage, *, site: Site) -> None:
        self._stage = stage
        self._site = site
        self._clock = SystemClock()
        self._shown_ns: dict[str, int] = {}
        self._placed: set[str] = set()
        self._source: str | None = None

    def subscribe(self, operator: OperatorClient) -> None:
        """Look at cameras, arm, plans and latencies."""
        for role in self._site.cameras:
            topics = graph.camera_topics(role)
            operator.subscribe(topics.color, partial(self._picture, role))
            operator.subscribe(topics.color_info, partial(self._place, role))
        operator.subscribe(graph.ROBOT_STATE, self._state)
        operator.subscribe(graph.COMMANDED, self._commanded)
        operator.subscribe(graph.ACTION_CHUNK, self._chunk)
        operator.subscribe(graph.LATENCY, self._latency)

    def _due(self, what: str, stamp_ns: int, *, every_ns: int) -> bool:
        if stamp_ns - self._shown_ns.get(what, 0) < every_ns:
            return False
        self._shown_ns[what] = stamp_ns
        self._stage.at(stamp_ns)
        return True

    def _picture(self, role: str, message: Image) -> None:
        stamp_ns = ns_from_time(message.header.stamp)
        if self._due(role, stamp_ns, every_ns=_PICTURES_EVERY_NS):
            self._stage.frame(role, color_from_message(message))
            self._stage.series(f"latency/{role}_ms", (self._clock.now_ns() - stamp_ns) / NS_PER_MS)

    def _place(self, role: str, message: CameraInfo) -> None:
        if role in self._placed:
            return
        self._placed.add(role)
        stream = self._site.cameras[role]
        pose = stream.tcp_from_camera or stream.base_from_camera
        if pose is not None:
            self._stage.place_camera(
                role,
                intrinsics=intrinsics_from_message(message),
                on_tcp=stream.tcp_from_camera is not None,
                parent_from_camera=transform_from_pose(np.array(pose)),
            )

    def _state(self, message: RobotState) -> None:
        state = robot_state_from_message(message)
        if self._due("arm", state.stamp_ns, every_ns=_ARM_EVERY_NS):
            self._stage.state(state.joint_positions, state.base_from_tcp, state.gripper_opening)

    def _commanded(self, message: CommandedState) -> None:
        commanded = commanded_from_message(message)
        if self._due("commanded", commanded.stamp_ns, every_ns=_ARM_EVERY_NS):
            self._stage.commanded(commanded.base_from_tcp, commanded.gripper_opening)
        if commanded.source != self._source:
            self._source = commanded.source
            self._stage.at(commanded.stamp_ns)
            self._stage.note(f"moved by {commanded.source}" if commanded.source else "nobody moves the arm")

    def _chunk(self, message: ActionChunk) -> None:
        chunk = chunk_from_message(message)
        now_ns = self._clock.now_ns()
        if self._due("plan", now_ns, every_ns=_PICTURES_EVERY_NS):
            show_chunk(chunk, self._stage)
            self._stage.series("latency/plan_ms", (now_ns - chunk.stamp_ns) / NS_PER_MS)

    def _latency(self, message: LatencyReport) -> None:
        self._stage.at(ns_from_time(message.stamp))
        for hop in message.hops:
            if hop.count:
                self._stage.series(f"latency/{hop.name.replace(' ', '_')}_p50_ms", hop.p50_ms)
