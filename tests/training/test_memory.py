"""Freed memory stays with the process, so that a step does not pay for clearing it again."""

import os
import platform
import subprocess
import sys

import pytest

_HELD = """
import ctypes, torch
from mola_core.training.memory import keep_freed_memory

class Account(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Account
if {kept}:
    assert keep_freed_memory()
before = mallinfo2().arena
block = torch.ones(7_500_000)
del block
print(mallinfo2().arena - before)
"""


def held_after_freeing(*, kept: bool) -> int:
    """Bytes more that the process has for itself after a block of 30 MB was freed, by the C library's own account."""
    # torch is slow to import, and what it asks of the system must not depend on tests that ran before
    code = _HELD.format(kept=kept)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_blocks_stay_with_the_process() -> None:
    assert held_after_freeing(kept=True) > 25_000_000
    assert held_after_freeing(kept=False) < 5_000_000
