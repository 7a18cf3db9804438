"""What the processes that hold engines hold, and whether it grows."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import MolaError
from mola_nodes.bench.processes import MIB, Process, own_processes

_HOLDERS = ("imagination_node", "policy_node", "mola_process")
SHARED = Path("/dev/shm")  # noqa: S108 - looked at, not written to


@dataclass(frozen=True, slots=True)
class MemorySample:
    """One look."""

    swaps: int
    """How many there had been."""
    resident_mib: dict[str, float]
    """By program."""
    shared_mib: float
    """In use in /dev/shm, by whomever on this machine: the transport's segments lie there."""


@dataclass(frozen=True, slots=True)
class MemorySpan:
    """One figure over all samples."""

    what: str
    first_mib: float
    last_mib: float
    max_mib: float

    @property
    def growth_mib(self) -> float:
        """From the first sample to the last."""
        return self.last_mib - self.first_mib


def sample_memory(swaps: int, *, processes: Sequence[Process] | None = None) -> MemorySample:
    """Look at ``processes`` (this one and its descendants) now.

    Raises:
        MolaError: none of them holds engines.
    """
    running = own_processes() if processes is None else processes
    resident: dict[str, float] = {}
    for program in _HOLDERS:
        for process in running:
            if process.runs(program):
                resident[program] = resident.get(program, 0.0) + process.resident_mib
    if not resident:
        raise MolaError(f"none of {', '.join(_HOLDERS)} runs; see the log of the graph for why it ended")
    return MemorySample(swaps=swaps, resident_mib=resident, shared_mib=shutil.disk_usage(SHARED).used / MIB)


def spans_of(samples: Sequence[MemorySample]) -> tuple[MemorySpan, ...]:
    """First, last and largest: each program's, and that of /dev/shm."""
    programs = dict.fromkeys(program for sample in samples for program in sample.resident_mib)
    return (
        *(_span(program, [sample.resident_mib.get(program, 0.0) for sample in samples]) for program in programs),
        _span(str(SHARED), [sample.shared_mib for sample in samples]),
    )


def resident_span(samples: Sequence[MemorySample]) -> MemorySpan:
    """All programs together."""
    return _span("resident", [sum(sample.resident_mib.values()) for sample in samples])


def _span(what: str, values_mib: Sequence[float]) -> MemorySpan:
    return MemorySpan(what, first_mib=values_mib[0], last_mib=values_mib[-1], max_mib=max(values_mib))
