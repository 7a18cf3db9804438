"""A sitting at the recorder: start, stop, keep, drop, and the reasons why not. One episode at a time; no ROS in here."""

import fcntl
import functools
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import AppendFile
from mola_core.data.episodes.meta import EpisodeError, EpisodeMeta, Outcome
from mola_core.data.episodes.recording import Recording, RecordingLimits
from mola_core.data.episodes.rosbag2 import RecordedTopic
from mola_core.data.episodes.store import EpisodeStore
from mola_core.data.episodes.watch import StreamCondition, StreamExpectation, StreamWatch

_LOCK_NAME = ".lock"

_P = ParamSpec("_P")
_R = TypeVar("_R")


class SessionState(Enum):
    """What the recorder is doing."""

    IDLE = "idle"
    RECORDING = "recording"
    REVIEW = "review"
    """Written, waits for an outcome or to be dropped."""


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """What is going to be done, and by whom."""

    instruction: str
    operator: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """A topic, and what is expected of it."""

    topic: RecordedTopic
    expectation: StreamExpectation
    is_latched: bool = False
    """Comes once, to whoever subscribes: its last message is repeated at the beginning of every episode."""


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """All that there is to tell."""

    state: SessionState
    reason: str
    """Why it could not start now, why the last episode ended by itself, what is wrong with this one; empty: nothing."""
    can_start: bool
    episode_id: str
    request: EpisodeRequest
    length_ns: int
    messages: int
    dropped: int
    size_bytes: int
    episodes_kept: int
    episodes_dropped: int
    last_episode_id: str
    last_outcome: Outcome | None
    disk_free_bytes: int
    disk_minutes_left: float | None
    """At the rate of the episode before; None before one."""
    newest_ns: int | None
    """Receive stamp of the newest recorded message; None while idle."""
    streams: tuple[StreamCondition, ...] = field(default=())


@dataclass(slots=True)
class _Latest:
    data: bytes
    sent_ns: int
    sequence: int


def _one_at_a_time(
    method: Callable[Concatenate["RecorderSession", _P], _R],
) -> Callable[Concatenate["RecorderSession", _P], _R]:
    @functools.wraps(method)
    def locked(session: "RecorderSession", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with session.lock:
            return method(session, *args, **kwargs)

    return locked


class RecorderSession:
    """Callable from any thread while entered; holds the store's lock, so that there is one recorder a store."""

    def __init__(
        self,
        root: Path,
        *,
        streams: Sequence[RecordedStream],
        describe: Callable[[str, EpisodeRequest, int], EpisodeMeta],
        clock: Clock,
        min_free_bytes: int,
        limits: RecordingLimits | None = None,
        obstacles: Callable[[], Sequence[str]] = lambda: (),
        request: EpisodeRequest | None = None,
        open_file: Callable[[Path], AppendFile] = AppendFile,
    ) -> None:
        """``describe`` makes what an episode says of itself; ``obstacles`` names what else forbids to start; the first
        episode takes from ``request`` what its own leaves open.
        """
        self.store = EpisodeStore(root)
        self.lock = threading.RLock()
        """Messages wait while an episode is being ended."""
        self._streams = tuple(streams)
        self._watches = [StreamWatch(stream.expectation) for stream in streams]
        self._latest: dict[int, _Latest] = {}
        self._describe = describe
        self._clock = clock
        self._min_free_bytes = min_free_bytes
        self._limits = limits or RecordingLimits()
        self._obstacles = obstacles
        self._open_file = open_file
        self._recording: Recording | None = None
        self._reviewed: Recording | None = None
        self._request = request or EpisodeRequest(instruction="", operator="")
        self._kept, self._dropped = 0, 0
        self._last: list[tuple[str, Outcome]] = []
        """Kept in this sitting, newest last: what can be dropped."""
        self._ended_by_itself = ""
        self._bytes_per_s: float | None = None

    def __enter__(self) -> Self:
        """Take the store.

        Raises:
            EpisodeError: another recorder has it, or it cannot be written.
        """
        try:
            self.store.root.mkdir(parents=True, exist_ok=True)
            self._store_lock = os.open(self.store.root / _LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EpisodeError(
                f"store {self.store.root} cannot be written: {error.strerror}; choose another"
            ) from error
        try:
            fcntl.flock(self._store_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._store_lock)
            raise EpisodeError(
                f"another recorder writes to {self.store.root}; stop it or choose another store"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is being recorded, as an episode of unknown outcome, and leave the store.

        Raises:
            EpisodeError: the disk refuses; the folder stays for ``mola episode recover``.
        """
        try:
            with self.lock:
                if self._recording is not None:
                    self._end(Outcome.UNKNOWN, ended_by="the recorder was stopped")
        finally:
            os.close(self._store_lock)

    @_one_at_a_time
    def offer(self, stream: int, data: bytes, *, received_ns: int, sent_ns: int, sequence: int | None) -> None:
        """A message of ``streams[stream]`` has arrived; ``sequence`` is its publisher's running number, where there is one."""
        self._watches[stream].note(data, received_ns=received_ns, sequence=sequence)
        number = sequence or 0
        if self._streams[stream].is_latched:
            self._latest[stream] = _Latest(data, sent_ns, number)
        if self._recording is not None:
            self._recording.offer(stream, data, received_ns=received_ns, sent_ns=sent_ns, sequence=number)

    @_one_at_a_time
    def start(self, request: EpisodeRequest) -> str:
        """Begin an episode; empty fields of ``request`` repeat the last ones. Returns its id.

        Raises:
            EpisodeError: something forbids it; all of it is named.
        """
        request = EpisodeRequest(
            instruction=request.instruction or self._request.instruction,
            operator=request.operator or self._request.operator,
            task=request.task or self._request.task,
        )
        refusals = self._refusals()
        if not request.instruction:
            refusals.append("no instruction: say what is going to be done")
        if refusals:
            raise EpisodeError(f"cannot start: {'; '.join(refusals)}")
        now_ns = self._clock.now_ns()
        episode_id = self._new_id(now_ns)
        recording = Recording(
            self.store.root,
            meta=self._describe(episode_id, request, now_ns),
            topics=[stream.topic for stream in self._streams],
            clock=self._clock,
            limits=self._limits,
            open_file=self._open_file,
        )
        recording.start()
        for stream, latest in self._latest.items():
            recording.offer(stream, latest.data, received_ns=now_ns, sent_ns=latest.sent_ns, sequence=latest.sequence)
        for watch in self._watches:
            watch.begin_episode()
        self._recording, self._request, self._ended_by_itself = recording, request, ""
        return episode_id

    @_one_at_a_time
    def stop(self) -> str:
        """End the episode; it waits for :meth:`keep` or :meth:`drop`. Returns its id.

        Raises:
            EpisodeError: nothing is being recorded, or the disk refuses.
        """
        if self._recording is None:
            raise EpisodeError("nothing is being recorded")
        self._reviewed = self._end(Outcome.UNKNOWN, ended_by="the operator")
        return self._reviewed.meta.episode_id

    @_one_at_a_time
    def keep(self, outcome: Outcome) -> str:
        """Keep the episode under review, or the one being recorded, which ends with it. Returns its id.

        Raises:
            EpisodeError: there is neither, or the disk refuses.
        """
        if self._recording is not None:
            kept = self._end(outcome, ended_by="the operator").meta.episode_id
        elif self._reviewed is not None:
            kept, self._reviewed = self._reviewed.meta.episode_id, None
            self.store.set_outcome(kept, outcome)
        elif self._last:
            kept = self._last.pop()[0]  # the operator has thought again
            self._kept -= 1
            self.store.set_outcome(kept, outcome)
        else:
            raise EpisodeError("there is no episode to judge; start one first")
        self._last.append((kept, outcome))
        self._kept += 1
        return kept

    @_one_at_a_time
    def drop(self) -> str:
        """Drop the episode being recorded, or under review, or else the last one kept, into the trash. Returns its id.

        Raises:
            EpisodeError: there is none, or the disk refuses.
        """
        if self._recording is not None:
            dropped = self._end(Outcome.UNKNOWN, ended_by="dropped by the operator").meta.episode_id
        elif self._reviewed is not None:
            dropped, self._reviewed = self._reviewed.meta.episode_id, None
        elif self._last:
            dropped = self._last.pop()[0]
            self._kept -= 1
        else:
            raise EpisodeError("there is no episode of this sitting to drop; for older ones: mola episode drop <id>")
        self.store.drop(layout.episode_folder(self.store.root, dropped))
        self._dropped += 1
        return dropped

    @_one_at_a_time
    def tick(self) -> None:
        """Notice a recording that cannot go on; call several times a second.

        Raises:
            EpisodeError: it could not even be ended; the folder stays for ``mola episode recover``.
        """
        recording = self._recording
        if recording is None:
            return
        problem = recording.problem
        free = self._free_bytes()
        if not problem and free < self._min_free_bytes // 2:
            problem = f"only {free / 1e9:.1f} GB of disk are left"
        if problem:
            self._ended_by_itself = f"episode {recording.meta.episode_id} ended by itself: {problem}"
            self._reviewed = self._end(Outcome.UNKNOWN, ended_by=problem)

    @_one_at_a_time
    def status(self) -> SessionStatus:
        """Everything, now."""
        now_ns = self._clock.now_ns()
        shown, free = self._recording or self._reviewed, self._free_bytes()
        conditions = tuple(watch.condition(now_ns=now_ns) for watch in self._watches)
        refusals = self._refusals(conditions)
        last_id, last_outcome = self._last[-1] if self._last else ("", None)
        return SessionStatus(
            state=self.state,
            reason=self._reason(refusals, conditions),
            can_start=not refusals,
            episode_id="" if shown is None else shown.meta.episode_id,
            request=self._request,
            length_ns=0 if shown is None else max(shown.last_ns - shown.meta.started_ns, 0),
            messages=0 if shown is None else shown.messages,
            dropped=0 if shown is None else self._lost() + sum(shown.dropped().values()),
            size_bytes=0 if shown is None else shown.size_bytes,
            episodes_kept=self._kept,
            episodes_dropped=self._dropped,
            last_episode_id=last_id,
            last_outcome=last_outcome,
            disk_free_bytes=free,
            disk_minutes_left=None if self._bytes_per_s is None else free / self._bytes_per_s / 60,
            newest_ns=None if self._recording is None else self._recording.last_ns,
            streams=tuple(item for item in conditions if item.expected_hz or item.lost),
        )

    @property
    def state(self) -> SessionState:
        """What the recorder is doing."""
        if self._recording is not None:
            return SessionState.RECORDING
        return SessionState.IDLE if self._reviewed is None else SessionState.REVIEW

    def _lost(self) -> int:
        """On the way here, since the episode began."""
        return sum(watch.lost for watch in self._watches)

    def _reason(self, refusals: Sequence[str], conditions: Sequence[StreamCondition]) -> str:
        if self._recording is None:
            return "; ".join([*([self._ended_by_itself] if self._ended_by_itself else []), *refusals])
        problems = [f"{item.topic} {item.problem}" for item in conditions if item.problem]
        dropped = sum(self._recording.dropped().values())
        if dropped:
            problems.append(f"{dropped} messages dropped: the disk is too slow")
        if self._lost():
            problems.append(f"{self._lost()} messages lost on the way here")
        return "; ".join(problems)

    def _refusals(self, conditions: Sequence[StreamCondition] | None = None) -> list[str]:
        """Everything that forbids to start."""
        if self._recording is not None:
            return [f"episode {self._recording.meta.episode_id} is being recorded"]
        if self._reviewed is not None:
            return [f"episode {self._reviewed.meta.episode_id} waits for success, failure or drop"]
        now_ns = self._clock.now_ns()
        conditions = conditions or [watch.condition(now_ns=now_ns) for watch in self._watches]
        refusals = [f"{item.topic} {item.problem}" for item in conditions if item.expected_hz and item.problem]
        free = self._free_bytes()
        if free < self._min_free_bytes:
            refusals.append(
                f"{free / 1e9:.1f} GB of disk are left where {self._min_free_bytes / 1e9:.1f} are wanted; "
                "free space or lower min_free_gb"
            )
        return [*refusals, *self._obstacles()]

    def _end(self, outcome: Outcome, *, ended_by: str) -> Recording:
        recording, self._recording = self._recording, None
        assert recording is not None  # noqa: S101 (callers have looked)
        lost = {watch.expectation.topic: watch.lost for watch in self._watches if watch.lost}
        recording.finish(outcome=outcome, ended_by=ended_by, lost=lost)
        span_ns = recording.last_ns - recording.meta.started_ns
        if span_ns > NS_PER_S // 2:
            self._bytes_per_s = recording.size_bytes * NS_PER_S / span_ns
        for watch in self._watches:
            watch.end_episode()
        return recording

    def _new_id(self, now_ns: int) -> str:
        return layout.new_id(now_ns=now_ns, salt=int.from_bytes(os.urandom(2), "big"))

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.store.root).free
