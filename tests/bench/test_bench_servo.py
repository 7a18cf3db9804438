"""What the benches of the servo path make of their records."""

from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site
from mola_nodes.bench.servo import figures_of
from mola_nodes.bench.splice import compare

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")


def test_figures_of_a_known_record() -> None:
    intervals_ms = [2.0] * 97 + [2.5, 6.0, 1.5]
    sent_ns = np.concatenate([[0], np.cumsum(np.array(intervals_ms) * 1e6)]).astype(np.int64)
    figures = figures_of(sent_ns, loop="ours", priority=0, lateness_ns=np.full(101, 250_000))
    assert figures.commands == 101
    assert figures.rate_hz == pytest.approx(100 / (sum(intervals_ms) * 1e-3))
    assert figures.late_p50_ms == 0.0
    assert figures.late_max_ms == pytest.approx(4.0)
    assert figures.misses == 1
    assert figures.deadline_p99_ms == pytest.approx(0.25)


def test_a_loop_that_sent_nothing_is_named() -> None:
    with pytest.raises(MolaError, match="reference loop sent 0"):
        figures_of(np.zeros(0, dtype=np.int64), loop="reference", priority=0)


def test_our_splice_stays_within_the_jerk_limit_where_a_hard_switch_does_not() -> None:
    ours, hard = compare(SITE, splices=10, disagreement=0.03)
    assert ours.commanded_jerk_max <= max(SITE.arm.jerk_max)
    assert hard.commanded_jerk_max > 100 * ours.commanded_jerk_max
    assert hard.executed_jerk_max > 10 * ours.executed_jerk_max
    assert ours.tracking_rms < 0.03
