"""Steps that are done once: each leaves a stamp with the digest of what it was made from, after it has succeeded."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TAIL_LINES = 25


class SetupError(Exception):
    """Something the user has to do or to know; printed as it is."""


@dataclass(frozen=True)
class Step:
    """One line of the set-up's output."""

    name: str
    title: str
    digest: str
    """Of everything that the result depends on; a stamp with another digest is stale."""
    run: Callable[[], None]
    """Makes or repairs the result; raises SetupError."""


class Stamps:
    """Which steps have been completed, and from what."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self, step: Step) -> bool:
        try:
            return (self._folder / step.name).read_text(encoding="utf-8") == step.digest
        except OSError:
            return False

    def drop(self, step: Step) -> None:
        (self._folder / step.name).unlink(missing_ok=True)

    def write(self, step: Step) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{step.name}"
        partial.write_text(step.digest, encoding="utf-8")
        partial.replace(self._folder / step.name)


def run_stale(steps: Iterable[Step], *, stamps: Stamps) -> int:
    """Run each step whose stamp is not fresh, one visible line a step; the number of steps run."""
    count = 0
    for step in steps:
        if stamps.fresh(step):
            continue
        count += 1
        stamps.drop(step)
        with Progress(step.title):
            step.run()
        stamps.write(step)
    return count


class Progress:
    """A line that says what is being done, for how long, and how it ended."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Progress":
        self._start = time.monotonic()
        print(self._line(""), end="", flush=True)
        if sys.stdout.isatty():
            self._ticker.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._done.set()
        if self._ticker.is_alive():
            self._ticker.join()
        if sys.stdout.isatty():
            print(f"\r{self._line('')}", end="")
        print(f"{self._seconds():5.0f} s" if kind is None else " failed", flush=True)

    def _tick(self) -> None:
        while not self._done.wait(1.0):
            print(f"\r{self._line('')}{self._seconds():5.0f} s", end="", flush=True)

    def _seconds(self) -> float:
        return time.monotonic() - self._start

    def _line(self, end: str) -> str:
        return f"  {self._title:.<58} {end}"


class Shell:
    """Runs commands with their output in a log; on failure the log's last lines are the error."""

    def __init__(self, *, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = dict(environment)

    def run(self, command: Sequence[object], **variables: str) -> None:
        words = [str(word) for word in command]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(words)}\n")
            log.flush()
            start = log.tell()
            environment = self._environment | variables
            result = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
            )
        if result.returncode != 0:
            raise SetupError(f"{self._tail(start)}\n{words[0]} failed with {result.returncode}; full log: {self._log}")

    def _tail(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])


def digest(*parts: str | Path) -> str:
    """Of texts and of files (name and content), in this order."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        name = os.fspath(part) if isinstance(part, Path) else ""
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()
