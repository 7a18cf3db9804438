"""Quantiles as numpy gives them, without what numpy imports for them."""

import subprocess
import sys

import numpy as np
import pytest

from mola_core.contracts.quantiles import quantiles

_IN_THE_LOOP = """
import sys
from mola_core.contracts.quantiles import quantiles
from mola_core.runtime.noise import action_noise
from mola_nodes.latency import LatencyWindow
from mola_nodes.policy.tally import RunTally

before = set(sys.modules)
tally, window = RunTally(), LatencyWindow(now_ns=0)
for bundle, now_ns in (("a/1", 10), ("a/1", 20), ("b/1", 30)):
    tally.note(bundle, duration_ms=1.0, now_ns=now_ns)
tally.figures()
window.add("hop", start_ns=0, end_ns=1)
window.report(now_ns=2, first=[])
action_noise(0, shape=(2, 3))
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_they_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).exponential(size=count)
    shares = (0.0, 0.3, 0.5, 0.99, 1.0)
    assert quantiles(values, *shares) == pytest.approx(np.quantile(values, shares))


def test_of_nothing_there_are_none() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantiles([], 0.5)


def test_nothing_is_imported_at_its_first_use_while_the_robot_moves() -> None:
    result = subprocess.run([sys.executable, "-c", _IN_THE_LOOP], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
