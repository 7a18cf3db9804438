"""Runs a probe in a process of its own, so that what it tries can neither crash nor hang the doctor."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    """Why a probe gave no answer, in one line."""

    reason: str


def run_probe(name: str, **variables: str) -> dict[str, Any] | ProbeFailed:
    """What ``mola_core.cli.doctor.probes.<name>`` printed."""
    command = [sys.executable, "-m", f"mola_core.cli.doctor.probes.{name}"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=os.environ | variables
        )
    except subprocess.TimeoutExpired:
        return ProbeFailed(f"no answer within {_TIMEOUT_S:.0f} s")
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        return ProbeFailed(lines[-1])
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer
