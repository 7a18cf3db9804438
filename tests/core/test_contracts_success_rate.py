"""Wilson's interval."""

import pytest

from mola_core.contracts.success_rate import wilson_interval


def test_wilson_interval_of_known_values() -> None:
    low, high = wilson_interval(95, 100)
    assert (low, high) == (pytest.approx(0.8882, abs=1e-4), pytest.approx(0.9785, abs=1e-4))
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(100, 100)[1] == 1.0
