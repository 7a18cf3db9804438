"""A process of the recorder's bench: a camera or a controller that publishes until it is ended, or the plain writer.

python -m mola_nodes.bench.record_worker camera --role wrist --width 640 --height 480
python -m mola_nodes.bench.record_worker states
python -m mola_nodes.bench.record_worker plain --out file.mcap --seconds 60
"""

import argparse
import json
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from mcap.writer import CompressionType, Writer
from rclpy.node import Node

from mola_core.contracts.clock import NS_PER_S, SystemClock
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
from mola_nodes.recorded_streams import patient, type_name
from mola_nodes.state_publisher import RATE_HZ

FPS = 30
ROLES = ("third_person", "wrist")
_WAIT_S = 60.0
_CLOCK = SystemClock()


def publish_camera(*, role: str, width: int, height: int) -> None:
    """Colour, depth, metadata and calibration of one camera at 30 Hz."""
    node, topics = Node(f"bench_camera_{role}"), graph.camera_topics(role)
    random = np.random.default_rng(7)
    color = random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    depth = random.integers(0, 65_536, size=(height, width), dtype=np.uint16)
    intrinsics = CameraIntrinsics(width, height, float(width), float(width), width / 2, height / 2)
    ends = [_publisher(node, topic) for topic in (topics.color, topics.depth, topics.color_metadata, topics.color_info)]

    def publish(number: int) -> None:
        now_ns = _CLOCK.now_ns()
        frame = Frame(now_ns, StampDomain.HOST_RECEIVE, now_ns, number, color, depth)
        messages = (
            images.color_message(frame, frame_id=role),
            images.depth_message(frame, frame_id=role),
            images.metadata_message(frame),
            images.camera_info_message(intrinsics, stamp_ns=now_ns, frame_id=role),
        )
        for end, message in zip(ends, messages, strict=True):
            end.publish(message)

    _repeat(publish, rate_hz=FPS)


def publish_states() -> None:
    """Measured and commanded states, as the controller does."""
    node = Node("bench_controller")
    measured, commanded = _publisher(node, graph.ROBOT_STATE), _publisher(node, graph.COMMANDED)

    def publish(number: int) -> None:
        now_ns, zeros = _CLOCK.now_ns(), np.zeros(6)
        state = RobotState(now_ns, zeros, zeros, zeros, 0.5, RobotMode.RUNNING, SafetyMode.NORMAL, 1.0)
        measured.publish(motion.message_from_robot_state(state, sequence=number))
        command = CommandedState(now_ns, zeros, zeros, 0.5, "bench", number, "")
        commanded.publish(motion.message_from_commanded(command, sequence=number))

    _repeat(publish, rate_hz=RATE_HZ)


def write_plainly(*, out: Path, seconds: float) -> dict[str, object]:
    """The reference: raw subscriptions, and the format's own library called from their callbacks."""
    node = Node("bench_plain_writer")
    topics = [*(topic for role in ROLES for topic in _camera_streams(role)), graph.ROBOT_STATE, graph.COMMANDED]
    sequences: dict[str, list[int]] = {topic.name: [] for topic in topics}
    with out.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        for topic in topics:
            schema = writer.register_schema(type_name(topic), "ros2msg", b"")
            channel = writer.register_channel(topic.name, "cdr", schema)
            on_message = partial(_write, writer, channel, sequences[topic.name])
            wide = patient(topic)
            node.create_subscription(wide.type, wide.name, on_message, wide.qos, raw=True)
        executor = rclpy.get_global_executor()
        executor.add_node(node)
        _spin_until(lambda: all(sequences.values()), executor, timeout_s=_WAIT_S)
        for seen in sequences.values():
            seen.clear()
        start_bytes, start_ns, cpu_s = file.tell(), _CLOCK.monotonic_ns(), _cpu_s()
        _spin_until(
            lambda: _CLOCK.monotonic_ns() - start_ns > seconds * NS_PER_S, executor, timeout_s=seconds + _WAIT_S
        )
        elapsed_s = (_CLOCK.monotonic_ns() - start_ns) / NS_PER_S
        figures = {
            "cpu_percent": 100.0 * (_cpu_s() - cpu_s) / elapsed_s,
            "megabytes_per_s": (file.tell() - start_bytes) / elapsed_s / 1e6,
            "seconds": elapsed_s,
            "streams": {name: stream_count(seen) for name, seen in sequences.items()},
        }
        writer.finish()
    return figures


def stream_count(sequences: Sequence[int]) -> dict[str, int]:
    """Messages written, and those whose running numbers are missing among them."""
    sent = max(sequences) - min(sequences) + 1 if sequences else 0
    return {"written": len(sequences), "lost": sent - len(sequences)}


def _camera_streams(role: str) -> tuple[graph.Topic, ...]:
    topics = graph.camera_topics(role)
    return (topics.color, topics.depth, topics.color_metadata, topics.color_info)


def _write(writer: Writer, channel: int, seen: list[int], data: bytes, info: dict[str, int]) -> None:
    writer.add_message(channel, info["received_timestamp"], data, info["source_timestamp"])
    seen.append(info["publication_sequence_number"])


def _publisher(node: Node, topic: graph.Topic) -> Any:
    return node.create_publisher(topic.type, topic.name, topic.qos)


def _repeat(publish: Callable[[int], None], *, rate_hz: float) -> None:
    """Until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    start_ns, number = _CLOCK.monotonic_ns(), 0
    while not ended.is_set():
        publish(number)
        number += 1
        _CLOCK.sleep_until(start_ns + round(number * NS_PER_S / rate_hz))


def _spin_until(condition: Callable[[], bool], executor: Any, *, timeout_s: float) -> None:
    deadline_ns = _CLOCK.monotonic_ns() + round(timeout_s * NS_PER_S)
    while not condition():
        if _CLOCK.monotonic_ns() > deadline_ns:
            sys.exit("gave up waiting for the streams")
        executor.spin_once(0.5)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part; the plain writer prints its figures."""
    parser = argparse.ArgumentParser(prog="record_worker")
    parts = parser.add_subparsers(dest="part", required=True)
    camera = parts.add_parser("camera")
    camera.add_argument("--role", required=True)
    camera.add_argument("--width", type=int, required=True)
    camera.add_argument("--height", type=int, required=True)
    parts.add_parser("states")
    plain = parts.add_parser("plain")
    plain.add_argument("--out", type=Path, required=True)
    plain.add_argument("--seconds", type=float, required=True)
    options = vars(parser.parse_args(arguments))
    part = options.pop("part")
    rclpy.init(args=[])
    if part == "camera":
        publish_camera(**options)
    elif part == "states":
        publish_states()
    else:
        sys.stdout.write(json.dumps(write_plainly(**options)))
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
