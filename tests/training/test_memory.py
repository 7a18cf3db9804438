"""Freed memory stays with the process, so that a step does not pay for clearing it again."""

import os
import subprocess
import sys

_FAULTS = """
import resource, torch
from mola_core.training.memory import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
for step in range(20):
    if step == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(2_000_000) for _ in range(10)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool) -> int:
    """Pages that the system had to clear for 15 times 10 blocks of 8 MB, held together and freed together."""
    # torch is slow to import, and what it asks of the system must not depend on tests that ran before
    code = _FAULTS.format(kept=kept)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return int(result.stdout)


def test_blocks_are_asked_of_the_system_once() -> None:
    assert faults(kept=True) < 10_000
    assert faults(kept=False) > 100_000
