"""A compiler: one stage's graph in, one file out, for one runtime version and one architecture."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mola_core.contracts.bundle import Precision, Stage

if TYPE_CHECKING:  # engines are compiled on rigs too, which have no torch
    from mola_core.export.stages import StageModule


@dataclass(frozen=True)
class CompileJob:
    """What to compile and for whom."""

    stage: Stage
    graph: Path
    out: Path
    arch: str
    """``sm_89`` and the like, or ``cpu``."""
    precision: Precision
    """Of the graph; compilers keep the types that the graph names."""
    module: "StageModule | None" = None
    """The stage in torch, for compilers that read no graphs; None where only a bundle is at hand."""


class Compiler(Protocol):
    """One runtime's."""

    suffix: str
    """Of its files, with the dot."""

    @property
    def version(self) -> str:
        """Of the runtime; engines are tied to it."""
        ...

    def compile(self, job: CompileJob) -> None:
        """Write ``job.out``.

        Raises:
            ExportError: the runtime does not support the architecture, or does not understand the graph.
        """
        ...
