"""What is recorded can be read again, by others too, and nothing is lost without being said."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from numbered import HASH, NUMBER, PERIOD_NS, START_NS, Bench, definitions, number_message, numbers, offer_numbers

from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import AppendFile, Part
from mola_core.data.episodes.mcap_writer import McapWriter
from mola_core.data.episodes.meta import EpisodeError, Outcome
from mola_core.data.episodes.reader import EpisodeReader
from mola_core.data.episodes.recording import RecordingLimits


def test_everything_comes_back_in_order(bench: Bench) -> None:
    episode = bench.record(500)
    assert numbers(episode, "/a") == numbers(episode, "/b") == list(range(500))
    with EpisodeReader(episode) as reader:
        assert {topic: stream.count for topic, stream in reader.streams.items()} == {"/a": 500, "/b": 500}
        assert (reader.meta.outcome, reader.meta.ended_by) == (Outcome.SUCCESS, "the operator")
        assert reader.meta.ended_ns == START_NS + 499 * PERIOD_NS
        first = next(reader.messages("/b"))
        assert (first.type_name, first.received_ns, first.sent_ns, first.sequence) == (
            NUMBER,
            START_NS,
            START_NS - 5,
            0,
        )
        assert bytes(first.message.padding) == bytes(20)
    assert not list(bench.store.glob(".*")), "the folder under which it was recorded is gone"


def test_plain_mcap_readers_read_it(bench: Bench) -> None:
    """The format's own library, with its checks on, and in the order of the file without the index."""
    episode = bench.record(300)
    with layout.bag_file(episode).open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        decoded = [item.decoded_message.value for item in reader.iter_decoded_messages(topics=["/a"])]
        assert decoded == list(range(300))
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 600
        assert len(summary.chunk_indexes) == summary.statistics.chunk_count > 5
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
        assert json.loads(metadata["mola.episode"]["episode"])["instruction"] == "stack the blocks"


def test_the_folder_is_a_bag(bench: Bench) -> None:
    episode = bench.record(40)
    information = yaml.safe_load((episode / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (information["version"], information["storage_identifier"]) == (9, "mcap")
    assert information["message_count"] == 80
    assert information["starting_time"]["nanoseconds_since_epoch"] == START_NS
    assert information["duration"]["nanoseconds"] == 39 * PERIOD_NS
    assert information["relative_file_paths"] == [layout.bag_file(episode).name]
    topic = information["topics_with_message_count"][0]["topic_metadata"]
    assert (topic["name"], topic["type"], topic["type_description_hash"]) == ("/a", NUMBER, HASH)
    assert topic["offered_qos_profiles"][0]["reliability"] == "reliable"


def test_definitions_carry_all_that_they_are_made_of(tmp_path: Path) -> None:
    known = definitions(tmp_path)
    text = known.of(NUMBER).text
    assert text.split("=" * 80)[1].startswith("\nMSG: builtin_interfaces/Time\nint32 sec\n")
    assert "# what is counted" in text
    with pytest.raises(EpisodeError, match="package absent_msgs is not installed"):
        known.of("absent_msgs/msg/Thing")
    with pytest.raises(EpisodeError, match="definition of test_msgs/Letter cannot be read"):
        known.of("test_msgs/msg/Letter")
    with pytest.raises(EpisodeError, match="is no message"):
        known.of("test_msgs/srv/Ask")


def test_a_chunk_does_not_stay_open(bench: Bench) -> None:
    """A slow stream would fill a chunk in minutes; a kill may not cost minutes."""
    limits = RecordingLimits(chunk_ns=20_000_000, ballast_bytes=1 << 20)
    recording = bench.recording(limits=limits)
    recording.start()
    before = recording.size_bytes
    offer_numbers(recording, range(1))
    deadline = 200
    while recording.size_bytes == before and deadline:
        recording._ended.wait(0.05)
        deadline -= 1
    assert recording.size_bytes > before
    recording.finish(outcome=Outcome.UNKNOWN, ended_by="the test")


def test_what_the_disk_cannot_take_in_time_is_dropped_and_counted(bench: Bench) -> None:
    class StalledFile(AppendFile):
        stall = False

        def append(self, parts: Sequence[Part]) -> None:
            while self.stall:
                os.sched_yield()
            super().append(parts)

    limits = RecordingLimits(queue_bytes=50_000, chunk_bytes=1000, ballast_bytes=1 << 20)
    recording = bench.recording(limits=limits, open_file=StalledFile)
    recording.start()
    StalledFile.stall = True
    data = number_message(0, padding=1000)
    taken = [recording.offer(0, data, received_ns=START_NS, sent_ns=0, sequence=0) for _ in range(100)]
    StalledFile.stall = False
    episode = recording.finish(outcome=Outcome.UNKNOWN, ended_by="the test", lost={"/a": 2})
    assert not all(taken)
    assert any(taken)
    with EpisodeReader(episode) as reader:
        assert reader.streams["/a"].count == sum(taken)
        assert reader.meta.lost == {"/a": 2 + taken.count(False)}


class SmallDisk(AppendFile):
    """A disk that has ``capacity`` bytes beside the ballast."""

    capacity = 20_000

    def append(self, parts: Sequence[Part]) -> None:
        ballast = 0 if (self.path.parent / layout.BALLAST_NAME).exists() else 1 << 20
        room = self.capacity + ballast - self.size
        if sum(map(len, parts)) > room:
            os.write(self._fd, b"".join(parts)[: max(room, 0)])  # as a real one does: what fits
            os.ftruncate(self._fd, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().append(parts)


def test_a_full_disk_ends_the_recording_and_loses_nothing_written(bench: Bench) -> None:
    recording = bench.recording(open_file=SmallDisk)
    recording.start()
    taken = 0
    for value in range(100_000):
        stamp_ns = START_NS + value * PERIOD_NS
        if not recording.offer(0, number_message(value, padding=20), received_ns=stamp_ns, sent_ns=0, sequence=value):
            break
        taken += 1
    assert "No space left" in recording.problem
    episode = recording.finish(outcome=Outcome.UNKNOWN, ended_by="the operator")
    found = numbers(episode, "/a")
    assert found == list(range(len(found)))
    with EpisodeReader(episode) as reader:
        assert reader.meta.ended_by == "the disk refuses: No space left on device"
        # every message is in the bag or counted as lost: those that waited, and the one that was refused
        assert len(found) + reader.meta.lost["/a"] == taken + 1
        assert layout.bag_file(episode).stat().st_size > SmallDisk.capacity, "the chunk that was open was saved too"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_of_the_writer_ends_the_recording_and_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("an index that is not there")

    recording = bench.recording()
    monkeypatch.setattr(McapWriter, "write_chunk", broken)
    recording.start()
    taken = 0
    while recording.offer(0, number_message(0, padding=20), received_ns=START_NS, sent_ns=0, sequence=taken):
        taken += 1
    assert recording.problem == "a bug of the recorder: ValueError('an index that is not there')"
    episode = recording.finish(outcome=Outcome.UNKNOWN, ended_by="the operator")
    with EpisodeReader(episode) as reader:
        assert reader.meta.ended_by == recording.problem


def test_a_disk_without_room_for_the_beginning_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(EpisodeError, match=r"cannot record to .*No space left on device; free space"):
        bench.recording().start()
    assert not list(bench.store.iterdir())


def test_a_recording_never_takes_the_place_of_another(bench: Bench) -> None:
    folder = bench.cut_off(20)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(EpisodeError, match="File exists"):
        bench.recording().start()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_an_append_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = SmallDisk(tmp_path / "file")
    (tmp_path / layout.BALLAST_NAME).touch()
    file.append([b"x" * 15_000])
    with pytest.raises(OSError, match="No space"):
        file.append([b"y" * 4000, b"z" * 4000])
    file.append([b"w" * 100])
    file.close()
    assert (tmp_path / "file").read_bytes() == b"x" * 15_000 + b"w" * 100
