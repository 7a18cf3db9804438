"""What a check says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from mola_core.contracts.site import Site


class Verdict(Enum):
    """How a finding bears on running the system."""

    OK = "ok"
    NOTE = "note"
    """Works; worth knowing, or worth improving before a rig is run."""
    MISSING = "missing"
    """Something does not work until the cure is applied."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    verdict: Verdict
    found: str
    cure: str = ""
    """What to do; empty where nothing needs doing."""
    twin: bool = True
    """Whether the twin needs it too; a missing camera stops a rig only."""


@dataclass(frozen=True, slots=True)
class Context:
    """What checks may look at besides the machine."""

    site: Site | None = None


Check = Callable[[Context], Sequence[Finding]]


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name=name, verdict=Verdict.OK, found=found)


def note(name: str, found: str, cure: str = "") -> Finding:
    """Works, but."""
    return Finding(name=name, verdict=Verdict.NOTE, found=found, cure=cure)


def missing(name: str, found: str, cure: str, *, twin: bool = True) -> Finding:
    """Does not work."""
    return Finding(name=name, verdict=Verdict.MISSING, found=found, cure=cure, twin=twin)
