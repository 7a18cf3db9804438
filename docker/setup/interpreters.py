"""Which Python the environment is made with: 3.11 or 3.12, the two that Jazzy's wheels and our code are tested on."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from debian import Need

SUPPORTED = ("3.11", "3.12")
FALLBACK = "3.11"
"""What apt can bring to a machine whose own Python is too old (Ubuntu 22.04) or too new."""

_PROBE = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps({
    "path": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "version": "%d.%d" % sys.version_info[:2],
    "venv": all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip")),
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that was found and asked about itself."""

    path: Path
    version: str
    venv: bool
    """Whether it can make virtual environments; Debian ships that apart."""
    headers: bool
    """Whether C extensions (the ROS messages) can be built for it."""

    def needs(self) -> tuple[Need, ...]:
        """What must be installed besides it."""
        return _companions(self.version, command=[str(self.path)])


def find(wanted: str | None = None) -> Interpreter | None:
    """The first supported interpreter among ``wanted`` alone, or the machine's default and its versioned names."""
    names = [wanted] if wanted else ["python3", *(f"python{version}" for version in reversed(SUPPORTED))]
    for name in names:
        found = probe([name])
        if found is not None and found.version in SUPPORTED:
            return found
    return None


def absent_needs() -> tuple[Need, ...]:
    """What brings a supported interpreter to a machine without one."""
    name = f"python{FALLBACK}"
    return (Need(name, "everything", lambda: probe([name]) is not None), *_companions(FALLBACK, command=[name]))


def probe(command: Sequence[str]) -> Interpreter | None:
    """Ask ``command`` what it is; None where it does not run (an absent name, a version manager's empty shim)."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "_ROS_WHEELS"))}
    try:
        result = subprocess.run(
            [*command, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    facts = json.loads(result.stdout)
    return Interpreter(path=Path(facts["path"]), version=facts["version"], venv=facts["venv"], headers=facts["headers"])


def _companions(version: str, *, command: Sequence[str]) -> tuple[Need, ...]:
    def has(what: str) -> bool:
        found = probe(command)
        return found is not None and bool(getattr(found, what))

    return (
        Need(f"python{version}-venv", "the virtual environment", lambda: has("venv")),
        Need(f"python{version}-dev", "building the ROS messages", lambda: has("headers")),
    )
