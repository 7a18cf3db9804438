"""Forks recorders to be killed: one a line on stdin; prints the pid of each, then the signal that ended it.

Forked rather than started, because an interpreter takes longer to start than a hundred kills should.
"""

import mmap
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from numbered import PERIOD_NS, START_NS, Bench, number_message

from mola_core.data.episodes.append_file import AppendFile, Part
from mola_core.data.episodes.meta import Outcome
from mola_core.data.episodes.recording import RecordingLimits

LIMITS = RecordingLimits(chunk_bytes=20_000, chunk_ns=5_000_000, ballast_bytes=1 << 20, sync_s=0.02)


FINISHED = 1 << 62
"""Noted when the episode has got its final name."""


def live(bench: Bench, shared: mmap.mmap) -> None:
    """Record, finish, wait to be killed."""

    class NotedFile(AppendFile):
        def append(self, parts: Sequence[Part]) -> None:
            super().append(parts)
            if parts[0][:1] == b"\x06":
                shared[:] = self.size.to_bytes(8, "little")

    recording = bench.recording(limits=LIMITS, names=("/a",), open_file=NotedFile)
    recording.start()
    for value in range(6000):
        data = number_message(value, padding=0)[:-4] + (8).to_bytes(4, "little") + b"NUMBERED"
        recording.offer(0, data, received_ns=START_NS + value * PERIOD_NS, sent_ns=0, sequence=value)
        if value % 64 == 0:
            time.sleep(0.001)
    recording.finish(outcome=Outcome.SUCCESS, ended_by="the operator")
    shared[:] = FINISHED.to_bytes(8, "little")
    signal.pause()


def main() -> None:
    bench = Bench(Path(sys.argv[1]))
    bench.recording()  # writes the definitions once
    with Path(sys.argv[2]).open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        for _ in sys.stdin:
            pid = os.fork()
            if pid == 0:
                live(bench, shared)
            print(pid, flush=True)
            _, status = os.waitpid(pid, 0)
            print(os.WTERMSIG(status), flush=True)


if __name__ == "__main__":
    main()
