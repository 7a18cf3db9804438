"""One process and all that descend from it: what a person calls them, what they compute and what they hold."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    words: tuple[str, ...]
    """Its command line."""
    processor_s: float
    """Used since it began."""
    resident_mib: float

    @property
    def name(self) -> str:
        """What a person calls it: its node's name, its module, or its program."""
        for word in self.words:
            if word.startswith("__node:="):
                return word.partition(":=")[2]
        module = next((after for word, after in itertools.pairwise(self.words) if word == "-m"), None)
        return module or next((Path(word).name for word in (*self.words[1:2], *self.words[:1]) if word), "")

    def runs(self, program: str) -> bool:
        """Whether it was started as ``program``, by itself or by its interpreter."""
        return any(Path(word).name == program for word in self.words[:3])


def own_processes(*, root: int | None = None, proc: Path = _PROC) -> tuple[Process, ...]:
    """``root`` (this process) and all that descend from it, in the order of their ids."""
    parents: dict[int, int] = {}
    found: list[Process] = []
    for folder in proc.glob("[0-9]*"):
        try:
            parents[int(folder.name)], process = _read(folder)
        except OSError:  # it has just ended
            continue
        found.append(process)
    ancestor = os.getpid() if root is None else root
    mine = [process for process in found if _descends(process.pid, parents, ancestor=ancestor)]
    return tuple(sorted(mine, key=lambda process: process.pid))


def resident_mib(pid: int, *, proc: Path = _PROC) -> float:
    """Resident memory of a process; OSError where it has ended."""
    pages = int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _read(folder: Path) -> tuple[int, Process]:
    """The parent of a process, and itself; proc(5) names the fields."""
    fields = (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    pid = int(folder.name)
    return int(fields[1]), Process(
        pid=pid,
        words=tuple(words),
        processor_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        resident_mib=resident_mib(pid, proc=folder.parent),
    )


def _descends(pid: int, parents: dict[int, int], *, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def load_percent(before: Sequence[Process], after: Sequence[Process], *, seconds: float) -> dict[str, float]:
    """Percent of one core by name, the busiest first; one that began in between counts with all that it used."""
    used_before = {process.pid: process.processor_s for process in before}
    load: dict[str, float] = {}
    for process in after:
        used = process.processor_s - used_before.get(process.pid, 0.0)
        load[process.name] = load.get(process.name, 0.0) + 100.0 * used / seconds
    return dict(sorted(load.items(), key=lambda item: -item[1]))
