"""Where engines can be compiled without a card."""

import platform

import pytest

only_x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64",
    reason=f"TensorRT-RTX has wheels for x86_64 alone, this machine is {platform.machine()}",
)
"""Elsewhere it must be installed: the set-up that comes before the tests has it in its lock."""
