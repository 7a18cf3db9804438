"""The camera node on a recording that the real librealsense plays."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
import yaml
from lifecycle_msgs.msg import Transition
from ros_probe import Probe
from ros_rig import PERIOD_MS, START_MS, WIDTH

from mola_nodes import graph
from mola_nodes.conversions import images
from mola_nodes.conversions.wire import ns_from_time

StartNode = Callable[..., "Popen[str]"]
CAMERA = "/mola/camera_third_person"


def test_frames_arrive_with_their_capture_stamps_and_nothing_is_made_up(
    start_node: StartNode, probe: Probe, site: Path
) -> None:
    start_node("camera_node", name="camera_third_person", site=site, camera="third_person")
    topics = graph.camera_topics("third_person")
    color, depth, metadata = (probe.collect(topic) for topic in (topics.color, topics.depth, topics.color_metadata))
    infos, mounts, health = (probe.collect(topic) for topic in (topics.color_info, topics.mount, graph.DIAGNOSTICS))
    assert probe.transition(CAMERA, Transition.TRANSITION_CONFIGURE)
    for topic in topics.all():
        probe.wait(lambda topic=topic: probe.node.count_publishers(topic.name), f"a publisher of {topic.name}")
    assert probe.transition(CAMERA, Transition.TRANSITION_ACTIVATE)

    # played in real time, a recording may skip frames on a crowded machine, so its end is what is waited for
    ended = probe.wait(lambda: [m.status[0] for m in health if m.status[0].message != "delivers frames"], "the end")
    assert ended[0].level == b"\x02"
    probe.wait(lambda: color and depth and infos, "frames")
    stamps_ns = [ns_from_time(message.header.stamp) for message in color]
    assert stamps_ns == sorted(set(stamps_ns)), "a frame was sent twice, or out of order"
    for message in color:
        pixels = images.color_from_message(message)
        number = round((ns_from_time(message.header.stamp) / 1e6 - START_MS) / PERIOD_MS)
        assert (pixels[..., 2] == number).all(), "the stamp is of another frame"
        assert pixels[3, 5, :2].tolist() == [5, 3]
    number = round((ns_from_time(depth[-1].header.stamp) / 1e6 - START_MS) / PERIOD_MS)
    assert np.median(images.depth_from_message(depth[-1])) == pytest.approx(700 + number, abs=1)
    assert color[-1].header.frame_id == mounts[-1].child_frame_id == "third_person_color_optical_frame"
    assert mounts[-1].header.frame_id == "base"
    assert images.intrinsics_from_message(infos[-1]).width == WIDTH
    assert json.loads(metadata[-1].data)["stamp_domain"] == "host_epoch"


def test_node_can_be_taken_down_and_brought_up_again(start_node: StartNode, probe: Probe, site: Path) -> None:
    start_node("camera_node", name="camera_third_person", site=site, camera="third_person")
    color = probe.collect(graph.camera_topics("third_person").color)
    for _ in range(2):
        del color[:]
        assert probe.transition(CAMERA, Transition.TRANSITION_CONFIGURE)
        assert probe.transition(CAMERA, Transition.TRANSITION_ACTIVATE)
        probe.wait(lambda: color, "a frame")
        assert probe.transition(CAMERA, Transition.TRANSITION_DEACTIVATE)
        assert probe.transition(CAMERA, Transition.TRANSITION_CLEANUP)
        probe.wait(lambda: not probe.node.count_publishers(graph.camera_topics("third_person").color.name), "silence")


@pytest.mark.parametrize(
    ("camera", "said"),
    [("head", "has no camera 'head'; it has third_person, wrist"), ("third_person", "absent.db3")],
)
def test_absent_camera_is_named(
    start_node: StartNode, probe: Probe, site: Path, tmp_path: Path, camera: str, said: str
) -> None:
    content = yaml.safe_load(site.read_text())
    content["cameras"]["third_person"]["path"] = str(tmp_path / "absent.db3")
    site.write_text(yaml.safe_dump(content))
    start_node("camera_node", name="camera_third_person", site=site, camera=camera)
    beats = probe.collect(graph.NODE_HEARTBEATS)
    configured = probe.transition(CAMERA, Transition.TRANSITION_CONFIGURE)
    assert not (configured and probe.transition(CAMERA, Transition.TRANSITION_ACTIVATE))
    problem = probe.wait(lambda: beats and beats[-1].problem, "the problem")
    assert said in problem
