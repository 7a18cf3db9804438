"""A sitting at the recorder: what is allowed when, what is said where it is not, and that nothing is lost on the way."""

import errno
import os
import shutil
from collections.abc import Sequence
from typing import Any

import pytest
from numbered import PERIOD_NS, SMALL_CHUNKS, START_NS, Bench, new_meta, number_message, numbers, topics

from mola_core.contracts.clock import NS_PER_S, FakeClock
from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import AppendFile, Part
from mola_core.data.episodes.meta import EpisodeError, EpisodeMeta, Outcome
from mola_core.data.episodes.reader import EpisodeReader, read_meta
from mola_core.data.episodes.session import EpisodeRequest, RecordedStream, RecorderSession, SessionState
from mola_core.data.episodes.watch import StreamExpectation, StreamWatch

STACK = EpisodeRequest(instruction="stack the blocks", operator="ada")
RATE_HZ = 100.0


def describe(episode_id: str, request: EpisodeRequest, now_ns: int) -> EpisodeMeta:
    return new_meta(
        episode_id=episode_id, instruction=request.instruction, operator=request.operator, started_ns=now_ns
    )


class Sitting:
    """A session on two streams, ``/a`` expected at 100 Hz and ``/b`` latched, driven by a clock that stands still."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.clock = FakeClock(start_ns=START_NS)
        a, b = topics(bench.share, "/a", "/b")
        self.session = RecorderSession(
            bench.store,
            streams=[
                RecordedStream(a, StreamExpectation("/a", expected_hz=RATE_HZ, stamp_offset=4)),
                RecordedStream(b, StreamExpectation("/b"), is_latched=True),
            ],
            describe=describe,
            clock=self.clock,
            limits=SMALL_CHUNKS,
            **{"min_free_bytes": 1000, **options},
        )
        self.value = 0

    def run(self, seconds: float, *, rate_hz: float = RATE_HZ, skip: int = 0) -> None:
        """Let messages of ``/a`` come, the first ``skip`` of them lost on the way."""
        for _ in range(round(seconds * rate_hz)):
            self.clock.advance(round(NS_PER_S / rate_hz))
            self.value += 1
            if skip:
                skip -= 1
            else:
                self.send(0)

    def send(self, stream: int) -> None:
        now_ns = self.clock.now_ns()
        self.session.offer(stream, number_message(self.value), received_ns=now_ns, sent_ns=now_ns, sequence=self.value)


@pytest.fixture
def sitting(bench: Bench) -> Sitting:
    return Sitting(bench)


def test_an_episode_from_start_to_success(bench: Bench, sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.send(1)
        sitting.run(2.5)
        assert session.status().can_start
        episode_id = session.start(STACK)
        sitting.run(1.0)
        assert session.status().state is SessionState.RECORDING
        assert session.keep(Outcome.SUCCESS) == episode_id
        status = session.status()
        assert (status.episodes_kept, status.last_outcome) == (1, Outcome.SUCCESS)
        assert status.disk_minutes_left is not None
    with EpisodeReader(bench.store / episode_id) as reader:
        assert reader.streams["/a"].count == 100
        latched = next(reader.messages("/b"))
        assert latched.received_ns == reader.meta.started_ns, "said long before, repeated at the beginning"
        assert latched.message.value == 0


def test_the_instruction_is_kept_until_another_is_given(sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        with pytest.raises(EpisodeError, match="no instruction: say what is going to be done"):
            session.start(EpisodeRequest("", ""))
        session.start(STACK)
        session.keep(Outcome.FAILURE)
        again = session.start(EpisodeRequest("", ""))
        session.keep(Outcome.SUCCESS)
    with EpisodeReader(session.store.root / again) as reader:
        assert (reader.meta.instruction, reader.meta.operator) == ("stack the blocks", "ada")


def test_every_reason_not_to_start_is_named(bench: Bench) -> None:
    sitting = Sitting(bench, min_free_bytes=10**18, obstacles=lambda: ["the moon is full"])
    with sitting.session as session, pytest.raises(EpisodeError) as caught:
        session.start(EpisodeRequest("", ""))
    for said in (
        "/a has not come yet",
        "GB of disk are left where 1000000000.0 are wanted",
        "the moon is full",
        "no instruction",
    ):
        assert said in str(caught.value)
    assert not list(bench.store.glob("2*"))


def test_one_thing_at_a_time(sitting: Sitting) -> None:
    with sitting.session as session:
        for early in (session.stop, lambda: session.keep(Outcome.SUCCESS), session.drop):
            with pytest.raises(EpisodeError, match=r"nothing is being recorded|no episode"):
                early()
        sitting.run(2.5)
        episode_id = session.start(STACK)
        with pytest.raises(EpisodeError, match=f"episode {episode_id} is being recorded"):
            session.start(STACK)
        session.stop()
        assert session.status().state is SessionState.REVIEW
        with pytest.raises(EpisodeError, match=f"episode {episode_id} waits for success, failure or drop"):
            session.start(STACK)


@pytest.mark.parametrize("when", ["recording", "review", "kept"])
def test_what_is_dropped_lies_in_the_trash(bench: Bench, sitting: Sitting, when: str) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        episode_id = session.start(STACK)
        sitting.run(0.5)
        if when == "review":
            session.stop()
        elif when == "kept":
            session.keep(Outcome.SUCCESS)
        assert session.drop() == episode_id
        status = session.status()
        assert (status.episodes_kept, status.episodes_dropped, status.last_episode_id) == (0, 1, "")
        assert numbers(session.store.restore(episode_id)) == list(range(251, 301))


def test_a_thought_changed_is_not_another_episode(sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        episode_id = session.start(STACK)
        session.keep(Outcome.FAILURE)
        assert session.keep(Outcome.SUCCESS) == episode_id
        assert session.status().episodes_kept == 1
        with EpisodeReader(session.store.root / episode_id) as reader:
            assert reader.meta.outcome is Outcome.SUCCESS


def test_half_the_rate_is_said_and_does_not_end_the_episode(sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        session.start(STACK)
        sitting.run(2.5, rate_hz=RATE_HZ / 2)
        status = session.status()
        assert status.state is SessionState.RECORDING
        assert status.reason == "/a comes at 50.0 Hz instead of 100"
        session.keep(Outcome.SUCCESS)
        with pytest.raises(EpisodeError, match=r"cannot start: /a comes at 50\.0 Hz instead of 100"):
            session.start(STACK)
        sitting.clock.advance(5 * NS_PER_S)
        assert session.status().reason == "/a silent for 5 s"


def test_losses_on_the_way_are_counted_and_kept_in_the_episode(sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        sitting.run(0.5, skip=5)  # before the episode: none of its business
        episode_id = session.start(STACK)
        sitting.run(0.1)
        sitting.run(1.0, skip=7)
        status = session.status()
        assert status.dropped == 7
        assert "7 messages lost on the way here" in status.reason
        session.keep(Outcome.SUCCESS)
        with EpisodeReader(session.store.root / episode_id) as reader:
            assert reader.meta.lost == {"/a": 7}


def test_a_publisher_that_starts_anew_has_lost_nothing(sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        session.start(STACK)
        sitting.value = 0
        sitting.run(1.0)
        assert session.status().dropped == 0


def test_a_second_recorder_is_refused(bench: Bench, sitting: Sitting) -> None:
    other = Sitting(bench)
    with sitting.session, pytest.raises(EpisodeError, match=f"another recorder writes to {bench.store}"):
        other.session.__enter__()
    with other.session:
        pass


def test_the_end_of_the_recorder_is_the_end_of_the_episode(bench: Bench, sitting: Sitting) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        episode_id = session.start(STACK)
        sitting.run(0.3)
    with EpisodeReader(bench.store / episode_id) as reader:
        assert (reader.meta.outcome, reader.meta.ended_by) == (Outcome.UNKNOWN, "the recorder was stopped")
        assert reader.streams["/a"].count == 30


def test_a_full_disk_ends_the_episode_and_waits_for_a_word(bench: Bench) -> None:
    class FullDisk(AppendFile):
        full = False

        def append(self, parts: Sequence[Part]) -> None:
            if self.full and (self.path.parent / layout.BALLAST_NAME).exists():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().append(parts)

    sitting = Sitting(bench, open_file=FullDisk)
    with sitting.session as session:
        sitting.run(2.5)
        episode_id = session.start(STACK)
        sitting.run(0.5)
        FullDisk.full = True
        sitting.run(0.5)
        _wait_for_problem(session)
        session.tick()
        status = session.status()
        assert status.state is SessionState.REVIEW
        assert f"episode {episode_id} ended by itself: the disk refuses: No space left on device" in status.reason
        FullDisk.full = False
        session.keep(Outcome.SUCCESS)
        found = numbers(bench.store / episode_id)
        assert found == list(range(251, 251 + len(found)))
        lost = read_meta(bench.store / episode_id).lost.get("/a", 0)
        assert len(found) + lost == 100, "what is not in the bag is counted"
        assert session.start(STACK), "and the sitting goes on"


def test_a_disk_that_fills_ends_the_episode_before_it_is_full(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sitting.session as session:
        sitting.run(2.5)
        episode_id = session.start(STACK)
        sitting.run(0.5)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 9_600, 400))
        session.tick()
        assert session.status().state is SessionState.REVIEW
        assert "ended by itself: only 0.0 GB of disk are left" in session.status().reason
        assert numbers(session.store.root / episode_id) == list(range(251, 301))


def _wait_for_problem(session: RecorderSession) -> None:
    recording = session._recording
    assert recording is not None
    for _ in range(400):
        if recording.problem:
            return
        recording._ended.wait(0.01)
    pytest.fail("the disk did not fill")


def test_an_unwritable_store_is_named(bench: Bench) -> None:
    bench.store.write_text("a file where the folder should be")
    with pytest.raises(EpisodeError, match=f"store {bench.store} cannot be written"):
        Sitting(bench).session.__enter__()


def test_latency_is_the_age_of_a_stamp_on_arrival() -> None:
    watch = StreamWatch(StreamExpectation("/a", expected_hz=RATE_HZ, stamp_offset=4))
    for value in range(100):
        arrival_ns = START_NS + value * PERIOD_NS + 12_000_000
        watch.note(number_message(value), received_ns=arrival_ns, sequence=value)
    condition = watch.condition(now_ns=START_NS + 100 * PERIOD_NS)
    assert condition.latency_ms == pytest.approx(12.0)
    assert condition.rate_hz == pytest.approx(RATE_HZ, rel=0.05)
    assert condition.problem == ""
    later = watch.condition(now_ns=START_NS + 20 * NS_PER_S)
    assert (later.latency_ms, later.rate_hz) == (None, 0.0)
    assert later.problem == "silent for 19 s"
