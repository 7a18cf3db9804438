"""The recorder on the real graph: what is sent is in the bag, and why it refuses is said."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest
import yaml
from lifecycle_msgs.msg import Transition
from mola_interfaces.msg import EpisodeStatus
from mola_interfaces.srv import EpisodeControl
from ros_probe import Probe
from ros_streams import FPS, HEIGHT, INTRINSICS, LATENCY_NS, WIDTH, Streams, commanded_state, robot_state
from std_msgs.msg import String

from mola_core.data.episodes.meta import Outcome
from mola_core.data.episodes.reader import EpisodeReader
from mola_core.data.episodes.recovery import recover, unfinished
from mola_nodes import graph

StartNode = Callable[..., "Popen[str]"]
RECORDER = f"/mola/{graph.EPISODE_RECORDER}"
START, STOP = EpisodeControl.Request.START, EpisodeControl.Request.STOP
KEEP, DROP = EpisodeControl.Request.KEEP, EpisodeControl.Request.DROP
SUCCESS = EpisodeControl.Request.SUCCESS


@pytest.fixture
def small_site(site: Path) -> Path:
    """The site of the tests with cameras as small as those of :class:`Streams`."""
    content = yaml.safe_load(site.read_text())
    for camera in content["cameras"].values():
        camera.update({"width": WIDTH, "height": HEIGHT, "fps": FPS})
    site.write_text(yaml.safe_dump(content))
    return site


class Recorder:
    """The node, driven as an operator does."""

    def __init__(self, probe: Probe, process: "Popen[str]", store: Path) -> None:
        self.probe = probe
        self.process = process
        self.store = store
        self.statuses = probe.collect(graph.EPISODE_STATUS)
        assert probe.transition(RECORDER, Transition.TRANSITION_CONFIGURE)
        assert probe.transition(RECORDER, Transition.TRANSITION_ACTIVATE)

    def ask(self, command: int, **fields: Any) -> EpisodeControl.Response:
        request = EpisodeControl.Request(command=command, **fields)
        return self.probe.call(EpisodeControl, graph.EPISODE_CONTROL.name, request)

    def wait(self, condition: Callable[[EpisodeStatus], bool], what: str) -> EpisodeStatus:
        def newest() -> EpisodeStatus | None:
            return self.statuses[-1] if self.statuses and condition(self.statuses[-1]) else None

        return self.probe.wait(newest, lambda: f"{what}; last: {self.statuses[-1:]}")

    def wait_ready(self) -> EpisodeStatus:
        return self.wait(lambda status: status.state == EpisodeStatus.IDLE, "the gate to open")

    def start(self, instruction: str = "stack the blocks") -> str:
        self.wait_ready()
        answer = self.ask(START, instruction=instruction, operator_name="ada")
        assert answer.success, answer.message
        return answer.episode_id

    def wait_messages(self, count: int) -> EpisodeStatus:
        return self.wait(lambda status: status.messages >= count, f"{count} messages")


@pytest.fixture
def recorder(start_node: StartNode, probe: Probe, small_site: Path, tmp_path: Path) -> Recorder:
    store = tmp_path / "store"
    process = start_node(
        "episode_recorder_node", name=graph.EPISODE_RECORDER, site=small_site, store=store, min_free_gb=0.01
    )
    return Recorder(probe, process, store)


@pytest.fixture
def streams(ros_environment: None) -> Iterator[Streams]:
    with Streams() as streams:
        yield streams


def test_what_was_sent_is_in_the_episode(recorder: Recorder, streams: Streams) -> None:
    """The types of a live message and of a recorded one hold the same numbers, stamps included."""
    episode_id = recorder.start()
    status = recorder.wait_messages(1500)
    assert (status.state, status.episode_id) == (EpisodeStatus.RECORDING, episode_id)
    color = next(s for s in status.streams if s.topic == graph.camera_topics("wrist").color.name)
    assert color.rate_hz == pytest.approx(FPS, rel=0.2)
    assert color.latency_ms == pytest.approx(LATENCY_NS / 1e6, abs=10.0)
    answer = recorder.ask(KEEP, outcome=SUCCESS)
    assert (answer.success, answer.episode_id) == (True, episode_id), answer.message
    status = recorder.wait(lambda status: status.episodes_kept == 1, "the count")
    assert (status.last_episode_id, status.last_outcome) == (episode_id, "success")

    with EpisodeReader(recorder.store / episode_id) as episode:
        meta = episode.meta
        assert (meta.outcome, meta.operator, meta.instruction) == (Outcome.SUCCESS, "ada", "stack the blocks")
        assert meta.contract_hash == meta.contract.hash
        assert (meta.cameras, meta.contract.cameras) == (("third_person", "wrist"), ("third_person", "wrist"))
        assert meta.streams.cameras["wrist"].mounted_on == "tcp"
        for role in meta.cameras:
            frames = list(episode.frames(role))
            first = streams.frames_sent[role].index(frames[0].stamp_ns)
            last = streams.frames_sent[role].index(frames[-1].stamp_ns)
            sent = streams.frames_sent[role][first : last + 1]
            lost = meta.lost.get(meta.streams.cameras[role].color, 0)
            assert len(sent) - len(frames) == lost, "every frame is there or counted"
            assert [frame.stamp_ns for frame in frames] == [
                stamp for stamp in sent if stamp in {f.stamp_ns for f in frames}
            ]
            numbers = {stamp_ns: number for number, stamp_ns in enumerate(streams.frames_sent[role])}
            for frame in frames:
                assert (frame.color == numbers[frame.stamp_ns] % 256).all()
                assert frame.depth is None or (frame.depth == numbers[frame.stamp_ns]).all()
            assert sum(frame.depth is not None for frame in frames) > 0.8 * len(frames)
            assert episode.intrinsics(role) == INTRINSICS
            mount = next(episode.messages(meta.streams.cameras[role].mount))
            assert mount.message.child_frame_id == graph.optical_frame(role), "latched: sent long before the episode"
        states, commands = list(episode.robot_states()), list(episode.commanded())
        assert len(states) > 100
        for state in states:
            _assert_same(state, robot_state(streams.states_sent.index(state.stamp_ns), stamp_ns=state.stamp_ns))
        for command in commands:
            _assert_same(command, commanded_state(command.chunk_sequence, stamp_ns=command.stamp_ns))


def _assert_same(got: Any, wanted: Any) -> None:
    for name in wanted.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)


def test_without_streams_it_refuses_and_says_which_are_missing(recorder: Recorder) -> None:
    answer = recorder.ask(START, instruction="x")
    assert not answer.success
    assert "/mola/third_person/color/image_raw has not come yet" in answer.message
    assert "/mola/robot_state has not come yet" in answer.message
    status = recorder.wait(lambda status: status.state == EpisodeStatus.BLOCKED, "the gate to be shut")
    assert "has not come yet" in status.reason
    assert [path.name for path in recorder.store.iterdir()] == [".lock"]


def test_stop_drop_and_keys(recorder: Recorder, streams: Streams, probe: Probe) -> None:
    keys = probe.publisher(graph.EPISODE_KEY)
    first = recorder.start()
    recorder.wait_messages(50)
    assert not recorder.ask(START, instruction="again").success, "one at a time"
    assert recorder.ask(STOP).success
    recorder.wait(lambda status: status.state == EpisodeStatus.REVIEW, "the review")
    refused = recorder.ask(START)
    assert "waits for success, failure or drop" in refused.message
    assert recorder.ask(DROP).episode_id == first
    assert (recorder.store / ".trash" / first).is_dir()

    keys.publish(String(data="toggle"))
    status = recorder.wait(lambda status: status.messages > 50, "recording by key")
    assert status.instruction == "stack the blocks", "the last one again"
    keys.publish(String(data="failure"))
    status = recorder.wait(lambda status: status.episodes_kept == 1, "the episode")
    assert status.last_outcome == "failure"
    keys.publish(String(data="success"))
    recorder.wait(lambda status: status.last_outcome == "success", "a second thought")
    keys.publish(String(data="flush"))
    keys.publish(String(data="drop"))
    status = recorder.wait(lambda status: status.episodes_dropped == 2, "drop last")
    assert (status.episodes_kept, status.last_episode_id) == (0, "")
    refused = recorder.ask(DROP)
    assert "no episode of this sitting" in refused.message


def test_a_camera_at_half_its_rate_is_recorded_as_it_comes_and_said(recorder: Recorder, streams: Streams) -> None:
    episode_id = recorder.start()
    streams.camera_hz["wrist"] = FPS / 2
    topic = graph.camera_topics("wrist").color.name
    status = recorder.wait(lambda status: f"{topic} comes at" in status.reason, "the complaint")
    assert "Hz instead of 30" in status.reason
    assert status.state == EpisodeStatus.RECORDING
    recorder.wait_messages(status.messages + 500)
    assert recorder.ask(KEEP, outcome=SUCCESS).success
    with EpisodeReader(recorder.store / episode_id) as episode:
        stamps = [frame.stamp_ns for frame in episode.frames("wrist")]
        lost = episode.meta.lost.get(topic, 0)
    sent = streams.frames_sent["wrist"]
    sent = sent[sent.index(stamps[0]) : sent.index(stamps[-1]) + 1]
    assert set(stamps) <= set(sent), "stamps as captured, whatever the rate"
    assert len(sent) - len(stamps) <= lost
    answer = recorder.ask(START)
    assert not answer.success
    assert topic in answer.message


def test_the_full_disk_is_said_before_it_is_full(
    start_node: StartNode, probe: Probe, small_site: Path, tmp_path: Path
) -> None:
    process = start_node(
        "episode_recorder_node",
        name=graph.EPISODE_RECORDER,
        site=small_site,
        store=tmp_path / "store",
        min_free_gb=90_000.0,
    )
    answer = Recorder(probe, process, tmp_path / "store").ask(START, instruction="x")
    assert "GB of disk are left where 90000.0 are wanted; free space or lower min_free_gb" in answer.message


def test_a_second_recorder_is_refused_by_the_store(
    recorder: Recorder, start_node: StartNode, probe: Probe, small_site: Path
) -> None:
    start_node("episode_recorder_node", name="second", site=small_site, store=recorder.store)
    beats = probe.collect(graph.NODE_HEARTBEATS)
    assert probe.transition("/mola/second", Transition.TRANSITION_CONFIGURE)
    assert not probe.transition("/mola/second", Transition.TRANSITION_ACTIVATE)
    problem = probe.wait(
        lambda: [beat.problem for beat in beats if beat.node == "/mola/second" and beat.problem], "the problem"
    )[0]
    assert f"another recorder writes to {recorder.store}" in problem
    probe.wait(
        lambda: "1 other recorder in the graph" in recorder.ask(START, instruction="x").message, "the other to be seen"
    )


def test_an_episode_ends_with_the_node(recorder: Recorder, streams: Streams) -> None:
    episode_id = recorder.start()
    recorder.wait_messages(200)
    recorder.process.send_signal(signal.SIGTERM)
    assert recorder.process.wait(timeout=30) == 0
    with EpisodeReader(recorder.store / episode_id) as episode:
        assert (episode.meta.outcome, episode.meta.ended_by) == (Outcome.UNKNOWN, "the recorder was stopped")
        assert len(list(episode.robot_states())) > 10


def test_a_killed_recorder_leaves_an_episode_to_recover(recorder: Recorder, streams: Streams) -> None:
    episode_id = recorder.start()
    written = recorder.wait_messages(1000).messages
    os.kill(recorder.process.pid, signal.SIGKILL)
    recorder.process.wait(timeout=10)
    (folder,) = unfinished(recorder.store)
    result = recover(recorder.store, folder)
    assert result.episode_id == episode_id
    # the open chunk is half a second of messages at most; the status was a quarter of a second old
    assert result.messages > 0.4 * written
    with EpisodeReader(result.path) as episode:
        assert episode.meta.recovered
        numbers = [frame.sequence for frame in episode.frames("wrist") if frame.sequence >= 0]
        assert numbers == sorted(set(numbers))


@pytest.mark.slow
def test_a_hundred_episodes_take_no_more_memory_than_one(recorder: Recorder, streams: Streams) -> None:
    def resident_kb() -> int:
        lines = Path(f"/proc/{recorder.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    sizes = []
    for number in range(100):
        recorder.start(f"task {number}")
        recorder.wait_messages(150)
        assert recorder.ask(KEEP, outcome=SUCCESS).success
        sizes.append(resident_kb())
    assert sizes[-1] - max(sizes[:20]) < 8_000, sizes
