"""Whatever a recorder leaves behind: everything but the open chunk comes back, and nothing is destroyed on the way."""

import errno
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from numbered import Bench, chunk_ends, end_of_data, new_meta, number_message, numbers, offer_numbers
from victim import FINISHED

from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import AppendFile, Part
from mola_core.data.episodes.meta import EpisodeError, Outcome
from mola_core.data.episodes.reader import EpisodeReader
from mola_core.data.episodes.recovery import recover, unfinished

COUNT = 120


def messages_before(folder: Path, cut: int) -> int:
    """Messages of both streams in the chunks that end before ``cut``."""
    data = layout.bag_file(folder).read_bytes()
    ends = [end for end in chunk_ends(data) if end <= cut]
    message = b"\x05" + (22 + len(number_message(0, padding=20))).to_bytes(8, "little")
    return data[: ends[-1]].count(message) if ends else 0


def test_a_recording_cut_off_anywhere_gives_all_whole_chunks(bench: Bench) -> None:
    """At every kind of place: in a head, in a message, between records, in the index behind a chunk."""
    folder = bench.cut_off(COUNT)
    bag = layout.bag_file(folder)
    whole = bag.read_bytes()
    saved = bench.root / "saved"
    shutil.copytree(folder, saved)
    ends = chunk_ends(whole)
    first_chunk = whole.index(b"\x06", whole.index(b"mola.episode"))
    places = {first_chunk, first_chunk + 5, len(whole), len(whole) - 1}
    for end in ends[:3] + ends[-1:]:
        places |= {end - 700, end - 1, end, end + 1, end + 9, end + 30}
    for cut in sorted(place for place in places if first_chunk <= place <= len(whole)):
        bag.write_bytes(whole[:cut])
        expected = messages_before(saved, cut)
        result = recover(bench.store, folder)
        assert result.messages == expected, cut
        values = numbers(result.path, "/a"), numbers(result.path, "/b")
        assert all(found == list(range(len(found))) for found in values)
        with EpisodeReader(result.path) as reader:
            assert reader.meta.recovered
            assert reader.meta.ended_by == "the recorder was killed"
        assert result.original is None
        assert not folder.exists()
        shutil.rmtree(result.path)
        shutil.copytree(saved, folder)


def test_damage_in_the_middle_costs_its_chunk_and_the_original_is_kept(bench: Bench) -> None:
    folder = bench.cut_off(COUNT)
    bag = layout.bag_file(folder)
    whole = bag.read_bytes()
    ends = chunk_ends(whole)
    position = (ends[2] + ends[3]) // 2  # in the fourth chunk
    bag.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
    result = recover(bench.store, folder)
    found = numbers(result.path, "/a")
    lost = sorted(set(range(COUNT)) - set(found))
    assert found == sorted(found)
    assert 0 < len(lost) < 25
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert result.skipped_bytes >= ends[3] - ends[2] - 1000
    assert result.original is not None
    assert layout.bag_file(result.original).read_bytes() != whole


def test_damaged_lengths_do_not_hide_what_follows(bench: Bench) -> None:
    folder = bench.cut_off(COUNT)
    bag = layout.bag_file(folder)
    whole = bytearray(bag.read_bytes())
    start_of_third = whole.index(b"\x06", chunk_ends(whole)[1])
    while start_of_third < len(whole):  # the index behind a chunk holds sixes too
        length = int.from_bytes(whole[start_of_third + 1 : start_of_third + 9], "little")
        if start_of_third + 9 + length == chunk_ends(whole)[2]:
            break
        start_of_third = whole.index(b"\x06", start_of_third + 1)
    whole[start_of_third + 1 : start_of_third + 9] = b"\xff" * 8
    bag.write_bytes(whole)
    result = recover(bench.store, folder)
    assert numbers(result.path, "/a")[-1] == COUNT - 1
    assert 0 < COUNT - len(numbers(result.path, "/a")) < 25


def test_random_damage_never_gives_a_wrong_number(bench: Bench) -> None:
    folder = bench.cut_off(COUNT)
    saved = bench.root / "saved"
    shutil.copytree(folder, saved)
    whole = layout.bag_file(folder).read_bytes()
    generator = random.Random(3)
    recovered = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            start = generator.randrange(len(data))
            for position in range(start, min(start + generator.choice((1, 8, 300)), len(data))):
                data[position] = generator.randrange(256)
        bag = layout.bag_file(folder)
        bag.write_bytes(data)
        try:
            result = recover(bench.store, folder)
        except EpisodeError:
            assert layout.bag_file(folder).read_bytes() == data, "a recovery that fails leaves the original alone"
            assert not list(bench.store.glob(".*.recovering"))
        else:
            recovered += 1
            for topic in ("/a", "/b"):
                if topic in {*EpisodeReader(result.path).streams}:
                    found = numbers(result.path, topic)
                    assert found == sorted(set(found))
            shutil.rmtree(bench.store)
        shutil.rmtree(bench.store, ignore_errors=True)
        bench.store.mkdir()
        shutil.copytree(saved, folder)
    assert recovered > 40


def test_a_finished_episode_with_a_damaged_bag_is_repaired(bench: Bench) -> None:
    episode = bench.record(COUNT)
    bag = layout.bag_file(episode)
    whole = bag.read_bytes()
    bag.write_bytes(whole[: end_of_data(whole) + 40])
    with pytest.raises(EpisodeError, match="mola episode recover"):
        EpisodeReader(episode)
    result = recover(bench.store, episode)
    assert numbers(result.path, "/b") == list(range(COUNT))
    assert result.original is not None
    with EpisodeReader(result.path) as reader:
        assert reader.meta.ended_by == "the operator; repaired"


def test_a_damaged_episode_json_is_read_from_the_bag(bench: Bench) -> None:
    folder = bench.cut_off(COUNT)
    (folder / layout.META_NAME).write_text('{"version": 1, "episode')
    result = recover(bench.store, folder)
    with EpisodeReader(result.path) as reader:
        assert reader.meta.instruction == "stack the blocks"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin as an MCAP file"),
        (b"SQLite format 3\0" * 10, "does not begin as an MCAP file"),
        (b"\x89MCAP0\r\n", "cut off before it says which streams"),
    ],
)
def test_what_cannot_be_recovered_is_named_and_left_alone(bench: Bench, content: bytes, said: str) -> None:
    folder = bench.cut_off(5)
    layout.bag_file(folder).write_bytes(content)
    with pytest.raises(EpisodeError, match=said):
        recover(bench.store, folder)
    assert layout.bag_file(folder).read_bytes() == content


def test_an_episode_that_cannot_be_ended_is_not_lost(bench: Bench) -> None:
    """The disk takes no index, not even in place of the ballast; the folder stays, and is recovered once there is room."""

    class NoIndex(AppendFile):
        def append(self, parts: Sequence[Part]) -> None:
            if parts[0][:1] == b"\x0f":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().append(parts)

    recording = bench.recording(open_file=NoIndex)
    recording.start()
    offer_numbers(recording, range(COUNT))
    with pytest.raises(EpisodeError, match=r"cannot be ended: No space left.*then: mola episode recover"):
        recording.finish(outcome=Outcome.SUCCESS, ended_by="the operator")
    (folder,) = unfinished(bench.store)
    assert numbers(recover(bench.store, folder).path) == list(range(COUNT))


def test_a_recording_that_goes_on_is_not_touched(bench: Bench) -> None:
    recording = bench.recording()
    recording.start()
    try:
        assert unfinished(bench.store) == [recording.folder]
        with pytest.raises(EpisodeError, match="is being recorded right now"):
            recover(bench.store, recording.folder)
    finally:
        recording._join()
        recording._file.close()


def test_no_room_for_the_copy_is_said_before_anything_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bench.cut_off(COUNT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(EpisodeError, match=r"needs .* GB beside the original"):
        recover(bench.store, folder)
    assert folder.exists()


KILLS = 100
TOTAL_BYTES = 6000 * (31 + 32)
"""Of the messages of one victim; a few more make the beginning and the index."""


@pytest.fixture
def quick_bench(tmp_path: Path) -> Iterator[Bench]:
    """In memory: what a kill leaves behind is the same, and a hundred recordings do not wait for a disk."""
    memory = Path("/dev/shm")  # noqa: S108
    parent = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(prefix="mola-kills-", dir=parent) as folder:
        yield Bench(Path(folder))


def test_a_recorder_killed_a_hundred_times_loses_the_open_chunk_at_most(quick_bench: Bench) -> None:
    """SIGKILL at random moments of real recordings; the victim notes in shared memory how far whole chunks reached the file."""
    bench = quick_bench
    generator = random.Random(11)
    note = bench.root / "note"
    note.write_bytes(bytes(8))
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "victim.py"), str(bench.root), str(note), str(KILLS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        with note.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            hits = 0
            for kill in range(KILLS):
                shared[:] = bytes(8)
                nursery.stdin.write("go\n")
                nursery.stdin.flush()
                pid = int(nursery.stdout.readline())
                _wait_for(shared, generator.uniform(0.0, 1.05) * TOTAL_BYTES)
                time.sleep(generator.uniform(0.0, 0.01))
                os.kill(pid, signal.SIGKILL)
                assert nursery.stdout.readline().strip() == "9"
                hits += _check(bench, reached=int.from_bytes(shared[:], "little"), kill=kill)
        nursery.stdin.close()
    assert hits > KILLS // 3, "too few were killed while they wrote"


def _wait_for(shared: mmap.mmap, size: float) -> None:
    """Moments are drawn in bytes: how long those take depends on the machine."""
    while int.from_bytes(shared[:], "little") < size:
        time.sleep(0.0005)


def _check(bench: Bench, *, reached: int, kill: int) -> bool:
    """Everything up to the noted end of file must come back, in order and complete; was it killed in the middle?"""
    folders = unfinished(bench.store) if reached < FINISHED else []
    finished = [path for path in bench.store.iterdir() if layout.is_id(path.name)] if bench.store.is_dir() else []
    if folders and reached:
        expected = layout.bag_file(folders[0]).read_bytes()[:reached].count(b"NUMBERED")
        result = recover(bench.store, folders[0])
        found = numbers(result.path)
        assert found == list(range(len(found))), kill
        assert len(found) >= expected, kill
        assert result.path.name == new_meta().episode_id
    elif finished:
        found = numbers(finished[0])
        assert found == list(range(len(found))), kill
    shutil.rmtree(bench.store, ignore_errors=True)
    return bool(folders and reached)
