"""What the recorder takes from the graph, and how it reads it without decoding."""

from pathlib import Path

from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from mola_core.contracts.site import load_site
from mola_core.data.episodes.session import EpisodeRequest
from mola_nodes import graph
from mola_nodes.conversions.wire import ns_from_time, time_from_ns
from mola_nodes.recorded_streams import EpisodeDescriber, recorded_streams, stamp_offset

ROLES = ("third_person", "wrist")
SITE = Path(__file__).parents[2] / "launch/sites/twin.yaml"


def test_everything_is_recorded_that_is_not_made_of_something_else() -> None:
    names = {topic.name for topic in graph.recorded_topics(roles=ROLES)}
    published = {topic.name for node in graph.nodes(roles=ROLES) for topic in node.publishes}
    assert published - names == {graph.EPISODE_STATUS.name}
    assert {graph.TELEOP_STATUS.name, graph.LATENT_ACTIONS.name, graph.ENGINE_STATUS.name} <= names
    assert graph.FORESIGHT.name not in names


def test_stamps_are_read_from_the_bytes() -> None:
    stamp = time_from_ns(1_790_000_000_123_456_789)
    for topic in (graph.ROBOT_STATE, graph.COMMANDED, graph.ACTION_CHUNK, graph.camera_topics("wrist").color):
        message = topic.type()
        if topic.type is Image:
            message.header.stamp = stamp
        else:
            message.stamp = stamp
        offset = stamp_offset(topic.type)
        data = serialize_message(message)
        assert offset is not None
        seconds, nanoseconds = (int.from_bytes(data[offset + at : offset + at + 4], "little") for at in (0, 4))
        assert seconds * 1_000_000_000 + nanoseconds == ns_from_time(stamp)
    assert stamp_offset(graph.camera_topics("wrist").color_metadata.type) is None


def test_streams_carry_definitions_hashes_and_rates() -> None:
    streams = {stream.topic.name: stream for stream in recorded_streams(load_site(SITE))}
    image = streams[graph.camera_topics("wrist").color.name]
    assert "MSG: std_msgs/Header" in image.topic.definition.text
    assert image.expectation.expected_hz == 30
    for stream in streams.values():
        assert stream.topic.definition.type_hash.startswith("RIHS01_"), stream.topic.name
    assert streams[graph.camera_topics("wrist").mount.name].is_latched
    assert not streams[graph.ACTION_CHUNK.name].expectation.is_numbered, "policy and teleoperation share it"


def test_an_episode_says_where_its_cameras_sit() -> None:
    site = load_site(SITE)
    meta = EpisodeDescriber(site, period_ns=100_000_000)("20261126-120000-00aa", EpisodeRequest("x", "ada"), 5)
    assert meta.contract.cameras == tuple(site.cameras)
    assert meta.streams.cameras["third_person"].mounted_on == "base"
    assert meta.site["name"] == "twin"
    assert len(meta.software.commit or "") in {0, 40}
