"""One episode while it is being recorded: a bounded queue, a thread that writes, and a folder that is renamed at the end."""

import os
import shutil
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.data.episodes import layout
from mola_core.data.episodes.append_file import AppendFile, sync_folder, write_whole
from mola_core.data.episodes.mcap_writer import ChunkBuilder, ChunkOfMessages, McapWriter
from mola_core.data.episodes.meta import EpisodeError, EpisodeMeta, Outcome
from mola_core.data.episodes.rosbag2 import RecordedTopic, metadata_yaml, records_of

META_RECORD = "mola.episode"
"""Name of the record inside the bag that repeats ``episode.json`` as it was at the beginning."""


@dataclass(frozen=True, slots=True)
class RecordingLimits:
    """How much may be under way."""

    queue_bytes: int = 192 << 20
    """Messages that wait for the disk; beyond that they are dropped and counted."""
    chunk_bytes: int = 4 << 20
    chunk_ns: int = NS_PER_S // 2
    """A chunk is closed after so long even if it is small: what a kill may cost."""
    sync_s: float = 5.0
    """What a power cut may cost."""
    ballast_bytes: int = 32 << 20
    """Set aside, so that a full disk leaves room to close the file."""


@dataclass(slots=True)
class _Waiting:
    channel: int
    sequence: int
    received_ns: int
    sent_ns: int
    data: bytes


class Recording:
    """Takes messages from any thread between :meth:`start` and :meth:`finish`."""

    def __init__(
        self,
        store: Path,
        *,
        meta: EpisodeMeta,
        topics: Sequence[RecordedTopic],
        clock: Clock,
        limits: RecordingLimits | None = None,
        open_file: Callable[[Path], AppendFile] = AppendFile,
    ) -> None:
        self.meta = meta
        self.folder = layout.partial_folder(store, meta.episode_id)
        self._store = store
        self._topics = tuple(topics)
        self._clock = clock
        self._limits = limits or RecordingLimits()
        self._open_file = open_file
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._wake = threading.Condition()
        self._ended = threading.Event()
        self._closing = False
        self._ballast_used = False
        self._messages = 0
        self._last_ns = meta.started_ns
        self._dropped: dict[int, int] = defaultdict(int)
        self.problem = ""
        """Why nothing is written any more; empty while all is well."""

    def start(self) -> None:
        """Create the folder, begin the bag and the threads.

        Raises:
            EpisodeError: the disk refuses; nothing is left behind.
        """
        name = layout.bag_name(self.meta.episode_id)
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:  # what is there already is left alone
            raise EpisodeError(f"cannot record to {self.folder}: {error.strerror}; choose another store") from error
        try:
            write_whole(self.folder / layout.META_NAME, self.meta.to_json())
            self._reserve_ballast()
            self._file = self._open_file(self.folder / name)
            self._writer = McapWriter(self._file)
            self._schemas, self._channels = records_of(self._topics)
            self._writer.declare(self._schemas, self._channels)
            self._writer.write_metadata(META_RECORD, {"episode": self.meta.to_json()})
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise EpisodeError(
                f"cannot record to {self.folder}: {error.strerror}; free space or choose another store"
            ) from error
        self._threads = [
            threading.Thread(target=self._told, args=(self._write_all,), name="episode writer", daemon=True),
            threading.Thread(target=self._told, args=(self._sync_now_and_then,), name="episode sync", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def offer(self, topic: int, data: bytes, *, received_ns: int, sent_ns: int, sequence: int) -> bool:
        """Queue one message of ``topics[topic]``; False where it had to be dropped, which is counted."""
        with self._wake:
            if self.problem or self._closing or self._queued_bytes + len(data) > self._limits.queue_bytes:
                self._dropped[topic] += 1
                return False
            self._queue.append(_Waiting(topic + 1, sequence, received_ns, sent_ns, data))
            self._queued_bytes += len(data)
            self._wake.notify()
        return True

    @property
    def messages(self) -> int:
        """Written, or in the open chunk."""
        return self._messages

    @property
    def size_bytes(self) -> int:
        """Of the bag so far."""
        return self._file.size

    @property
    def last_ns(self) -> int:
        """Receive stamp of the newest message taken; the start before any."""
        return self._last_ns

    def dropped(self) -> dict[str, int]:
        """Messages dropped, by topic."""
        with self._wake:
            return {self._topics[topic].name: count for topic, count in self._dropped.items()}

    def finish(self, *, outcome: Outcome, ended_by: str, lost: dict[str, int] | None = None) -> Path:
        """Write what waits, end the bag, and give the folder its final name; ``lost`` are messages lost on the way here.

        Raises:
            EpisodeError: the disk refuses even that; the folder stays as it is, for ``mola episode recover``.
        """
        self._join()
        total = dict(lost or {})
        for topic, count in self.dropped().items():
            total[topic] = total.get(topic, 0) + count
        meta = self.meta.model_copy(
            update={"outcome": outcome, "ended_ns": self._last_ns, "ended_by": self.problem or ended_by, "lost": total}
        )
        try:
            self._drop_ballast()
            self._writer.finish()
            self._file.sync()
            start_ns, end_ns = self._writer.span_ns
            text = metadata_yaml(
                file_name=self._file.path.name,
                schemas=self._schemas,
                channels=self._channels,
                counts=self._writer.counts,
                start_ns=start_ns,
                end_ns=end_ns,
            )
            write_whole(self.folder / layout.METADATA_NAME, text)
            write_whole(self.folder / layout.META_NAME, meta.to_json())
            sync_folder(self.folder)
            final = layout.episode_folder(self._store, meta.episode_id)
            self.folder.rename(final)
            sync_folder(self._store)
        except OSError as error:
            raise EpisodeError(
                f"episode {meta.episode_id} cannot be ended: {error.strerror}; free space, then: mola episode recover"
            ) from error
        finally:
            self._file.close()
        self.meta = meta
        return final

    def _join(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for message in self._queue:  # of a writer that has ended before its time
            self._dropped[message.channel - 1] += 1
        self._queue.clear()

    def _told(self, work: Callable[[], None]) -> None:
        """A bug ends the thread with its trace, and the recording with it: nothing more is taken, and whoever records hears why."""
        try:
            work()
        except BaseException as error:
            self._stop_taking(f"a bug of the recorder: {error!r}")
            raise

    def _write_all(self) -> None:
        builder, opened_ns = ChunkBuilder(), self._clock.monotonic_ns()
        while True:
            messages, closing = self._take(timeout_s=self._limits.chunk_ns / NS_PER_S)
            for message in messages:
                if not builder.size:
                    opened_ns = self._clock.monotonic_ns()
                builder.add(
                    channel=message.channel,
                    sequence=message.sequence,
                    log_ns=message.received_ns,
                    publish_ns=message.sent_ns,
                    data=message.data,
                )
                self._messages += 1
                self._last_ns = max(self._last_ns, message.received_ns)
                if builder.size >= self._limits.chunk_bytes:
                    self._write_chunk(builder.take())
            if closing or self._clock.monotonic_ns() - opened_ns >= self._limits.chunk_ns:
                self._write_chunk(builder.take())
            if closing:
                return

    def _take(self, *, timeout_s: float) -> tuple[list[_Waiting], bool]:
        with self._wake:
            if not self._queue and not self._closing:
                self._wake.wait(timeout_s)
            # not more than about a chunk, so that a burst does not hide in this thread from the bound of the queue
            messages: list[_Waiting] = []
            size = 0
            while self._queue and size < self._limits.chunk_bytes:
                messages.append(self._queue.popleft())
                size += len(messages[-1].data)
            self._queued_bytes -= size
            return messages, self._closing and not self._queue

    def _write_chunk(self, chunk: ChunkOfMessages | None) -> None:
        if chunk is None or (not self.problem and self._append(chunk)):
            return
        if not self._ballast_used:
            self._drop_ballast()
            if self._append(chunk):  # into the room that the ballast held
                return
        with self._wake:  # what waited in the queue when the disk filled up
            for channel, entries in chunk.index.items():
                self._dropped[channel - 1] += len(entries)
                self._messages -= len(entries)

    def _append(self, chunk: ChunkOfMessages) -> bool:
        try:
            self._writer.write_chunk(chunk)
        except OSError as error:
            self._stop_taking(f"the disk refuses: {error.strerror}")
            return False
        return True

    def _stop_taking(self, problem: str) -> None:
        with self._wake:
            self.problem = problem

    def _sync_now_and_then(self) -> None:
        while not self._ended.wait(self._limits.sync_s):
            try:
                self._file.sync()
            except OSError as error:
                self._stop_taking(f"the disk refuses: {error.strerror}")

    def _reserve_ballast(self) -> None:
        descriptor = os.open(self.folder / layout.BALLAST_NAME, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._limits.ballast_bytes)
        finally:
            os.close(descriptor)

    def _drop_ballast(self) -> None:
        self._ballast_used = True
        (self.folder / layout.BALLAST_NAME).unlink(missing_ok=True)
