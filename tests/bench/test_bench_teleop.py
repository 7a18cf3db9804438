"""What mola bench teleop makes of the arm's record; the run itself is too long for here."""

import argparse
import time
from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.errors import MolaError
from mola_core.contracts.site import load_site
from mola_core.control.kinematics import jacobian
from mola_nodes.bench.releases import Releases
from mola_nodes.bench.teleop import best_lag, run, tcp_velocity
from mola_nodes.bench.teleop_script import releases, wiggle
from mola_twin.fault_client import TwinTrace

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
START_NS = 1_750_000_000 * NS_PER_S


def test_the_delay_is_where_cause_and_effect_fit():
    script = wiggle(start_ns=START_NS, seconds=20.0, seed=3)
    stamps_ns = np.arange(START_NS, script.end_ns, 2 * NS_PER_MS)
    cause = script.velocity(stamps_ns)[:, 1]
    for delay_ms in (20, 81, 300):
        effect = 0.8 * script.velocity(stamps_ns - delay_ms * NS_PER_MS)[:, 1]
        found_ms, fit = best_lag(cause, effect)
        assert found_ms == pytest.approx(delay_ms, abs=2.0)
        assert fit > 0.95


def test_an_arm_that_never_moved_has_no_delay():
    script = wiggle(start_ns=START_NS, seconds=6.0, seed=0)
    stamps_ns = np.arange(START_NS, script.end_ns, 2 * NS_PER_MS)
    with pytest.raises(MolaError, match="nothing moved"):
        best_lag(script.velocity(stamps_ns)[:, 1], np.zeros(len(stamps_ns)))


def test_every_release_has_its_stamp():
    script = releases(start_ns=START_NS, count=9, seed=0)
    assert len(script.releases_ns) == 9
    for release_ns in script.releases_ns:
        before, after = script.velocity(np.array([release_ns - NS_PER_MS, release_ns + NS_PER_MS]))
        assert before.any()
        assert not after.any()
    assert script.spec().start_ns == START_NS


def test_the_tcps_velocity_comes_from_the_joints_record():
    stamps_ns = START_NS + np.arange(500) * 2 * NS_PER_MS
    home = np.array(SITE.arm.home)
    turning = np.tile([0.1, 0.0, 0.0, 0.0, 0.0, 0.0], (500, 1))
    trace = TwinTrace(
        time_s=np.arange(500) * 0.002,
        stamps_ns=stamps_ns,
        joint_positions=np.tile(home, (500, 1)),
        joint_velocities=turning,
        program_running=np.ones(500, dtype=bool),
        safety_modes=np.ones(500, dtype=int),
    )
    _, velocity = tcp_velocity(trace, site=SITE, start_ns=START_NS, end_ns=START_NS + NS_PER_S // 2)
    np.testing.assert_allclose(velocity, 0.1 * jacobian(home, SITE.arm.tcp_offset)[1, 0])
    with pytest.raises(MolaError, match="does not cover"):
        tcp_velocity(trace, site=SITE, start_ns=time.time_ns(), end_ns=time.time_ns())


def braking(*, from_speed: float, after_ms: float, to_speed: float = 0.0) -> TwinTrace:
    """An arm that moves at ``from_speed`` and, that long after a release 0.3 s into the record, at ``to_speed``."""
    time_s = np.arange(500) * 0.002
    velocities = np.zeros((500, 6))
    velocities[:, 0] = np.where(time_s < 0.3 + after_ms / 1000.0, from_speed, to_speed)
    return TwinTrace(
        time_s=time_s,
        stamps_ns=START_NS + np.arange(500) * 2 * NS_PER_MS,
        joint_positions=np.zeros((500, 6)),
        joint_velocities=velocities,
        program_running=np.ones(500, dtype=bool),
        safety_modes=np.ones(500, dtype=int),
    )


RELEASE_NS = START_NS + 300 * NS_PER_MS


def test_a_release_after_which_the_arm_never_rests_counts_against_it():
    found = Releases()
    found.note(braking(from_speed=0.1, after_ms=120.0), release_ns=RELEASE_NS)
    found.note(braking(from_speed=0.1, after_ms=120.0, to_speed=0.05), release_ns=RELEASE_NS)
    assert [stop.rest_ms for stop in found.stops] == [pytest.approx(120.0, abs=2.0)]
    assert (found.never_rested, found.count) == (1, 2)


def test_a_release_that_met_an_arm_at_rest_says_nothing():
    found = Releases()
    found.note(braking(from_speed=0.015, after_ms=120.0), release_ns=RELEASE_NS)
    found.note(braking(from_speed=0.1, after_ms=120.0), release_ns=START_NS + 2 * NS_PER_S)  # not recorded
    assert found.count == 0


@pytest.mark.parametrize(("count", "seconds"), [(0, 20.0), (10, 1.0), (10, 100.0)])
def test_what_measures_nothing_is_refused(count: int, seconds: float):
    with pytest.raises(MolaError, match=r"--releases >= 1 and --seconds within 5\.\.50"):
        run(argparse.Namespace(releases=count, seconds=seconds))
