"""A recorded bag, resampled, gives the rows that a node gets from the same messages as they come: bit for bit.

The messages are real ones, serialised as on the wire; the bag is the recorder's; the live side uses the nodes' conversions, the
offline side the bag's own definitions and no ROS.
"""

from pathlib import Path

import numpy as np
import pytest
from mola_interfaces.msg import CommandedState as CommandedStateMsg
from mola_interfaces.msg import RobotState as RobotStateMsg
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, FakeClock
from mola_core.contracts.resample import Gap, Resampler, Row
from mola_core.contracts.site import load_site
from mola_core.contracts.types import CommandedState, Frame, RobotMode, RobotState, SafetyMode, StampDomain
from mola_core.data.conversion.items import episode_rows
from mola_core.data.episodes.meta import Outcome
from mola_core.data.episodes.reader import EpisodeReader
from mola_core.data.episodes.recording import Recording
from mola_core.data.episodes.session import EpisodeRequest
from mola_nodes import graph
from mola_nodes.conversions.images import color_from_message, color_message, metadata_message
from mola_nodes.conversions.motion import (
    commanded_from_message,
    message_from_commanded,
    message_from_robot_state,
    robot_state_from_message,
)
from mola_nodes.conversions.wire import ns_from_time
from mola_nodes.recorded_streams import EpisodeDescriber, recorded_streams

SITE = load_site(Path(__file__).parents[2] / "launch/sites/twin.yaml")
PERIOD_NS = 100 * NS_PER_MS
START_NS = 1_800_000_000 * NS_PER_S
DURATION_MS = 1200
COLOR = {graph.camera_topics(role).color.name: role for role in SITE.cameras}


def robot_state(stamp_ns, rng):
    pose = np.concatenate([rng.normal(size=3), np.array([0, np.pi, 0]) + rng.normal(size=3) * 0.01])
    mode = (RobotMode.RUNNING, SafetyMode.NORMAL)
    return RobotState(stamp_ns, rng.normal(size=6), rng.normal(size=6), pose, float(rng.uniform()), *mode, 1.0)


def commanded_state(stamp_ns, rng):
    opening = float(rng.uniform())
    return CommandedState(stamp_ns, rng.normal(size=6), rng.normal(size=6), opening, "teleop/spacemouse", 3, "")


def camera_frame(stamp_ns, sequence, rng):
    color = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Frame(stamp_ns, StampDomain.HOST_EPOCH, stamp_ns + 9 * NS_PER_MS, sequence, color, None)


def traffic():
    """(received, topic, message) as a recorder gets them; the wrist camera is away for a third of a second."""
    rng = np.random.default_rng(0)
    sent = []

    def stamps(period_ms):
        for number in range(int(DURATION_MS / period_ms)):
            yield number, START_NS + int((number * period_ms + rng.uniform(0, 2)) * NS_PER_MS)

    for number, stamp_ns in stamps(16):
        state, commanded = robot_state(stamp_ns, rng), commanded_state(stamp_ns, rng)
        at = stamp_ns + int(rng.uniform(0, 3) * NS_PER_MS)
        sent.append((at, graph.ROBOT_STATE.name, message_from_robot_state(state, sequence=number)))
        sent.append((at, graph.COMMANDED.name, message_from_commanded(commanded, sequence=number)))
    for role in SITE.cameras:
        topics = graph.camera_topics(role)
        for number, stamp_ns in stamps(1000 / 30):
            if role == "wrist" and 0.4 < (stamp_ns - START_NS) / NS_PER_S < 0.75:
                continue
            frame = camera_frame(stamp_ns, number, rng)
            at = stamp_ns + int(rng.uniform(9, 30) * NS_PER_MS)
            sent.append((at, topics.color_metadata.name, metadata_message(frame)))
            sent.append((at, topics.color.name, color_message(frame, frame_id=role)))
    first = {name: [one for one in sent if one[1] == name] for name in {one[1] for one in sent}}
    for messages in first.values():  # a stream keeps its order on the wire
        received = sorted(one[0] for one in messages)
        for index, at in enumerate(received):
            messages[index] = (at, *messages[index][1:])
    return sorted((one for messages in first.values() for one in messages), key=lambda one: one[0])


def record(store, messages):
    streams = recorded_streams(SITE)
    request = EpisodeRequest(instruction="press the button", operator="tester")
    meta = EpisodeDescriber(SITE, period_ns=PERIOD_NS)("20261126-120000-0001", request, START_NS)
    recording = Recording(store, meta=meta, topics=[one.topic for one in streams], clock=FakeClock(start_ns=START_NS))
    recording.start()
    number_of = {one.topic.name: number for number, one in enumerate(streams)}
    for sequence, (received_ns, topic, data) in enumerate(messages):
        assert recording.offer(number_of[topic], data, received_ns=received_ns, sent_ns=received_ns, sequence=sequence)
    return recording.finish(outcome=Outcome.SUCCESS, ended_by="operator")


def live_rows(contract, messages):
    """As a node does it: every message by the nodes' conversions into the resampler, rows as soon as they are certain."""
    resampler = Resampler(contract)
    for _, topic, data in messages:
        if topic == graph.ROBOT_STATE.name:
            resampler.add_state(robot_state_from_message(deserialize_message(data, RobotStateMsg)))
        elif topic == graph.COMMANDED.name:
            resampler.add_commanded(commanded_from_message(deserialize_message(data, CommandedStateMsg)))
        elif topic in COLOR:
            image = deserialize_message(data, Image)
            stamp_ns, color = ns_from_time(image.header.stamp), color_from_message(image)
            resampler.add_frame(COLOR[topic], Frame(stamp_ns, StampDomain.HOST_EPOCH, stamp_ns, 0, color, None))
        yield from resampler.rows()
    yield from resampler.finish()


def flat(one):
    if isinstance(one, Gap):
        return one.stamp_ns, one.reason
    seen = one.observation
    frames = {role: (frame.stamp_ns, frame.color.tobytes()) for role, frame in seen.frames.items()}
    return seen.stamp_ns, frames, seen.state.tobytes(), one.action.tobytes(), one.source


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    messages = [(at, topic, serialize_message(message)) for at, topic, message in traffic()]
    with EpisodeReader(record(tmp_path_factory.mktemp("store"), messages)) as episode:
        offline = list(episode_rows(episode))
        return offline, list(live_rows(episode.meta.contract, messages))


def test_rows_are_equal_bit_for_bit(rows):
    offline, live = rows
    assert [flat(one) for one in offline] == [flat(one) for one in live]


def test_the_comparison_is_of_something(rows):
    offline, _ = rows
    assert sum(isinstance(one, Row) for one in offline) >= 7
    assert any(isinstance(one, Gap) and "wrist" in one.reason for one in offline)
