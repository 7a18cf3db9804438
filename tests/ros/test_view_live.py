"""What the viewer shows of the running graph: messages in, entities of rerun out; no DDS, no viewer."""

from collections import Counter
from pathlib import Path

import numpy as np
import rerun
from mola_interfaces.msg import LatencyHop, LatencyReport
from rerun.chunk import RrdReader

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.site import load_site
from mola_core.contracts.types import (
    ActionChunk,
    ActionSpace,
    CameraIntrinsics,
    CommandedState,
    Frame,
    RobotMode,
    RobotState,
    SafetyMode,
    StampDomain,
)
from mola_core.viewing.stage import Stage
from mola_nodes import graph
from mola_nodes.conversions.images import camera_info_message, color_message
from mola_nodes.conversions.motion import message_from_chunk, message_from_commanded, message_from_robot_state
from mola_nodes.conversions.wire import time_from_ns
from mola_nodes.viewing.live import LiveView

SITE = load_site(Path(__file__).parents[2] / "launch/sites/twin.yaml")
START_NS = 1_800_000_000 * NS_PER_S


class FakeOperator:
    def __init__(self):
        self.callbacks = {}

    def subscribe(self, topic, callback):
        self.callbacks[topic.name] = callback


def send_one_second(say):
    """A second of the graph: cameras at 30 Hz, states at 62.5 Hz, a chunk every 100 ms, one report of latencies."""
    zeros, pose = np.zeros(6), np.array([-0.4, 0.0, 0.3, 0.0, 3.1, 0.0])
    for role, spec in SITE.cameras.items():
        topics = graph.camera_topics(role)
        lens = CameraIntrinsics(spec.width, spec.height, 300.0, 300.0, spec.width / 2, spec.height / 2)
        say(topics.color_info, camera_info_message(lens, stamp_ns=START_NS, frame_id=role))
        for number in range(30):
            stamp_ns = START_NS + number * NS_PER_S // 30
            color = np.full((spec.height, spec.width, 3), 5 * number, np.uint8)
            frame = Frame(stamp_ns, StampDomain.HOST_EPOCH, stamp_ns, number, color, None)
            say(topics.color, color_message(frame, frame_id=role))
    for number in range(62):
        stamp_ns = START_NS + 16 * number * NS_PER_MS
        mode = (RobotMode.RUNNING, SafetyMode.NORMAL)
        state = RobotState(stamp_ns, zeros, zeros, pose, 0.4, *mode, 1.0)
        say(graph.ROBOT_STATE, message_from_robot_state(state, sequence=number))
        source = "" if number < 31 else "scripted"
        commanded = CommandedState(stamp_ns, zeros, pose, 0.4, source, 1, "")
        say(graph.COMMANDED, message_from_commanded(commanded, sequence=number))
    chunk = ActionChunk(
        sequence=1,
        source="scripted",
        bundle_id="",
        stamp_ns=START_NS,
        alive_stamp_ns=START_NS,
        start_ns=START_NS,
        period_ns=50 * NS_PER_MS,
        space=ActionSpace.JOINT,
        targets=np.zeros((10, 6)),
        gripper_openings=np.ones(10),
        execute_steps=10,
        final=False,
    )
    say(graph.ACTION_CHUNK, message_from_chunk(chunk))
    hop = LatencyHop(name="camera to servo", count=5, p50_ms=40.0, p99_ms=60.0, max_ms=70.0)
    say(graph.LATENCY, LatencyReport(version=1, stamp=time_from_ns(START_NS), hops=[hop, LatencyHop(name="idle")]))


def test_the_graph_is_shown(tmp_path):
    recording = rerun.RecordingStream("mola")
    recording.save(tmp_path / "live.rrd")
    stage = Stage(recording, tcp_offset=np.array(SITE.arm.tcp_offset), gripper=True, cameras=tuple(SITE.cameras))
    operator = FakeOperator()
    LiveView(stage, site=SITE).subscribe(operator)
    send_one_second(lambda topic, message: operator.callbacks[topic.name](message))
    recording.flush()
    recording.disconnect()
    rows = Counter()
    for part in RrdReader(tmp_path / "live.rrd").stream().to_chunks():
        rows[str(part.entity_path).lstrip("/")] += part.num_rows
    assert rows["cameras/wrist"] == rows["cameras/third_person"] == rows["latency/wrist_ms"] == 15  # every second one
    assert rows["world/tcp/wrist"] == rows["world/third_person"] == 2
    assert 14 <= rows["arm/joints/elbow_joint"] <= 17
    assert 14 <= rows["world/path/commanded"] <= 17
    assert rows["world/plan"] == rows["latency/plan_ms"] == rows["latency/camera_to_servo_p50_ms"] == 1
    assert rows["latency/idle_p50_ms"] == 0
    assert rows["notes"] == 2  # nobody, then the scripted policy
