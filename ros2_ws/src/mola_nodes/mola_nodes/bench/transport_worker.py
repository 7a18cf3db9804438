"""One end of one stream of the transport bench, in a process of its own; prints its figures as a line of JSON.

python -m mola_nodes.bench.transport_worker publish --stream 0 --frames 330 --readers 3
python -m mola_nodes.bench.transport_worker subscribe --streams 2 --frames 330
"""

import argparse
import json
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, SystemClock
from mola_core.contracts.types import Frame, StampDomain
from mola_nodes import graph
from mola_nodes.conversions import images
from mola_nodes.conversions.wire import ns_from_time

WIDTH, HEIGHT, FPS = 640, 480, 30
_SILENCE_S = 5.0
"""After so long a silence a subscriber takes the stream for ended without its last frame."""
_PATIENCE_S = 40.0
"""For the other end to come, or to leave."""
_CLOCK = SystemClock()


@dataclass(slots=True)
class StreamRecord:
    """What a subscriber saw of one stream."""

    hops_ms: list[float] = field(default_factory=list)
    """From handing the frame to the publisher to the callback."""
    sequences: list[int] = field(default_factory=list)


def publish(*, stream: int, frames: int, readers: int) -> dict[str, object]:
    """Publish ``frames`` images at 30 Hz once ``readers`` are there."""
    node = Node(f"bench_publisher_{stream}")
    topic = graph.camera_topics(f"bench_{stream}").color
    publisher = node.create_publisher(topic.type, topic.name, topic.qos)
    _wait(lambda: publisher.get_subscription_count() >= readers, what=f"{readers} readers of {topic.name}")
    color = np.random.default_rng(stream).integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    cpu_s, start_ns = _cpu_s(), _CLOCK.monotonic_ns()
    for sequence in range(frames):
        _CLOCK.sleep_until(start_ns + sequence * NS_PER_S // FPS)
        now_ns = _CLOCK.now_ns()
        frame = Frame(now_ns, StampDomain.HOST_RECEIVE, now_ns, sequence, color, None)
        publisher.publish(images.color_message(frame, frame_id=str(sequence)))
    cpu = _cpu_percent(cpu_s, start_ns)
    # samples still on their way are lost with their writer
    _wait(lambda: publisher.get_subscription_count() == 0, what="the readers to leave")
    return {"cpu_percent": cpu}


def subscribe(*, streams: int, frames: int) -> dict[str, object]:
    """Receive every stream until its last frame, or silence."""
    node = Node(f"bench_subscriber_{_CLOCK.monotonic_ns()}")
    records = [StreamRecord() for _ in range(streams)]
    for stream, record in enumerate(records):
        topic = graph.camera_topics(f"bench_{stream}").color
        node.create_subscription(topic.type, topic.name, _recorder(record), topic.qos)
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    heard_ns, cpu_s, start_ns, received = _CLOCK.monotonic_ns(), 0.0, 0, 0
    while not all(record.sequences and record.sequences[-1] == frames - 1 for record in records):
        executor.spin_once(0.5)
        total = sum(len(record.sequences) for record in records)
        if total != received:
            if not received:
                cpu_s, start_ns = _cpu_s(), _CLOCK.monotonic_ns()
            received, heard_ns = total, _CLOCK.monotonic_ns()
        elif _CLOCK.monotonic_ns() - heard_ns > (_SILENCE_S if received else _PATIENCE_S) * NS_PER_S:
            break
    return {
        "cpu_percent": _cpu_percent(cpu_s, start_ns),
        "received": [len(set(record.sequences)) for record in records],
        "hops_ms": [hop for record in records for hop in record.hops_ms],
    }


def _recorder(record: StreamRecord) -> Callable[[Image], None]:
    def on_image(message: Image) -> None:
        record.hops_ms.append((_CLOCK.now_ns() - ns_from_time(message.header.stamp)) / NS_PER_MS)
        record.sequences.append(int(message.header.frame_id))

    return on_image


def _wait(condition: Callable[[], bool], *, what: str) -> None:
    deadline_ns = _CLOCK.monotonic_ns() + round(_PATIENCE_S * NS_PER_S)
    while not condition():
        if _CLOCK.monotonic_ns() > deadline_ns:
            sys.exit(f"gave up waiting for {what}")
        _CLOCK.sleep_until(_CLOCK.monotonic_ns() + 20 * NS_PER_MS)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cpu_percent(cpu_s: float, start_ns: int) -> float:
    elapsed_s = (_CLOCK.monotonic_ns() - start_ns) / NS_PER_S
    return 100.0 * (_cpu_s() - cpu_s) / elapsed_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one end and print its figures."""
    parser = argparse.ArgumentParser(prog="transport_worker")
    commands = parser.add_subparsers(dest="command", required=True)
    publisher = commands.add_parser("publish")
    publisher.add_argument("--stream", type=int, required=True)
    publisher.add_argument("--frames", type=int, required=True)
    publisher.add_argument("--readers", type=int, required=True)
    subscriber = commands.add_parser("subscribe")
    subscriber.add_argument("--streams", type=int, required=True)
    subscriber.add_argument("--frames", type=int, required=True)
    options = vars(parser.parse_args(arguments))
    ends: dict[str, Callable[..., dict[str, object]]] = {"publish": publish, "subscribe": subscribe}
    end = ends[options.pop("command")]
    rclpy.init(args=[])
    sys.stdout.write(json.dumps(end(**options)))
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
