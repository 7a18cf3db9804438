"""The imagination as a process, with the shipped bundle: it goes on after pictures that nobody can imagine from."""

from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
from lifecycle_msgs.msg import Transition
from ros_probe import Probe
from sensor_msgs.msg import Image
from std_msgs.msg import String

from mola_core.contracts.clock import SystemClock
from mola_core.runtime.slot import Wanted
from mola_nodes import graph
from mola_nodes.conversions.bundles import wish_message
from mola_nodes.conversions.wire import ns_from_time, time_from_ns

ROOT = Path(__file__).parents[2]
NODE = f"{graph.NAMESPACE}/{graph.IMAGINATION}"
BUNDLE = "twin/8"
ROLES = ("third_person", "wrist")
StartNode = Callable[..., "Popen[str]"]


def test_a_picture_of_another_encoding_is_passed_over(start_node: StartNode, probe: Probe, tmp_path: Path) -> None:
    process = start_node(
        "imagination_node",
        name=graph.IMAGINATION,
        site=ROOT / "launch/sites/twin.yaml",
        models=ROOT / "models",
        late_ms=10_000.0,
    )
    assert probe.transition(NODE, Transition.TRANSITION_CONFIGURE)
    assert probe.transition(NODE, Transition.TRANSITION_ACTIVATE)
    clock, foresights, halves = SystemClock(), probe.collect(graph.FORESIGHT), probe.collect(graph.HALF_STATUS)
    cameras = {role: probe.publisher(graph.camera_topics(role).color) for role in ROLES}
    probe.publisher(graph.BUNDLE_WISH).publish(wish_message(Wanted(1, active=BUNDLE), stamp_ns=clock.now_ns()))
    probe.wait(lambda: halves and halves[-1].serving == BUNDLE, f"{BUNDLE} in service")
    probe.publisher(graph.INSTRUCTION).publish(String(data="press the button"))

    def see(encoding: str = "rgb8") -> int:
        now_ns = clock.now_ns()
        for camera in cameras.values():
            pixels = np.zeros((240, 424, 3), np.uint8).tobytes()
            message = Image(height=240, width=424, step=3 * 424, encoding=encoding, data=pixels)
            message.header.stamp = time_from_ns(now_ns)
            camera.publish(message)
        return now_ns

    probe.wait(lambda: see() and foresights, "a foresight")
    log = tmp_path / f"{graph.IMAGINATION}.0.log"
    probe.wait(lambda: see("bgr8") and "imagination: camera" in log.read_text(), "the reason in the log")
    later_ns = clock.now_ns()
    probe.wait(lambda: see() and ns_from_time(foresights[-1].stamp) >= later_ns, "a foresight after it")
    assert process.poll() is None
    assert halves[-1].serving == BUNDLE
    assert "image is 'bgr8', 'rgb8' expected" in log.read_text()
