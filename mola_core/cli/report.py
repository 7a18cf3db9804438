"""What a measurement says besides its figures: on which machine, from which commit, when.

Benches print a table for people and, with ``--json``, ``print_json(measurement_report(name, figures))``.
"""

import dataclasses
import json
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError

_REPOSITORY = Path(__file__).resolve().parents[2]
_COMMAND_TIMEOUT_S = 10.0


def measurement_report(name: str, figures: Mapping[str, Any], *, clock: Clock | None = None) -> dict[str, Any]:
    """One document: ``name``, ``figures``, and where, from what and when (UTC) they were measured."""
    stamp_s = (clock or SystemClock()).now_ns() / NS_PER_S
    return {
        "name": name,
        "date": datetime.fromtimestamp(stamp_s, tz=UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "git": git_state(),
        "figures": dict(figures),
    }


def print_json(document: Mapping[str, Any]) -> None:
    """Print ``document`` as strict JSON; NaN and infinities become null."""
    print(json.dumps(to_jsonable(document), indent=2, allow_nan=False))


def summary(values: Sequence[float] | Num[np.ndarray, "..."]) -> dict[str, float]:
    """Count, mean, p50, p90, p99 and max of ``values``, in their unit. MolaError where nothing was measured."""
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0:
        raise MolaError("nothing was measured: no values to summarise")
    p50, p90, p99 = np.percentile(array, [50, 90, 99])
    return {
        "count": int(array.size),
        "mean": float(array.mean()),
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "max": float(array.max()),
    }


def machine_facts() -> dict[str, Any]:
    """CPU, memory, kernel, Python and GPUs of this machine."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gpus": gpus(),
    }


def gpus() -> list[dict[str, str]]:
    """Name, driver and memory of each NVIDIA GPU; empty where there is none or no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    fields = ("name", "driver_version", "memory.total")
    output = _output(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"])
    if output is None:
        return []
    keys = ("name", "driver", "memory")
    return [dict(zip(keys, map(str.strip, line.split(",")), strict=True)) for line in output.splitlines()]


def git_state() -> dict[str, Any]:
    """Commit of the work tree that this package was installed from, and whether it has uncommitted changes.

    Both are None where the package does not live in a git work tree.
    """
    commit = _output(["git", "-C", str(_REPOSITORY), "rev-parse", "HEAD"])
    changes = _output(["git", "-C", str(_REPOSITORY), "status", "--porcelain"])
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def to_jsonable(value: Any) -> Any:  # noqa: PLR0911  # one return a kind
    """``value`` in terms of JSON; TypeError names a type that has no meaning there."""
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.ndarray | np.generic):
        return to_jsonable(value.tolist())
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a report cannot hold {type(value).__name__}: {value!r}")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _output(command: Sequence[str]) -> str | None:
    """Standard output of ``command`` without its last newline, or None where it fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.rstrip("\n")
