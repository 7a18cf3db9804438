"""Brake, reference and limiter: limits are kept, and what is asked for is reached."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

from mola_core.control.brake import plan_brake
from mola_core.control.fade import Fader
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.limiter import Limiter
from mola_core.control.motion import JointMotion, MotionLimits
from mola_core.control.reference import Reference

PERIOD_NS = 2_000_000
DT = PERIOD_NS * 1e-9
LIMITS = MotionLimits((-6.2,) * 6, (6.2,) * 6, (2.0,) * 6, (8.0,) * 6, (150.0,) * 6)

speeds = st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6)
accelerations = st.lists(st.floats(-8.0, 8.0), min_size=6, max_size=6)


def chunk(rows: np.ndarray, *, period_ns: int = 33_333_333, final: bool = False) -> JointChunk:
    return JointChunk(
        sequence=0,
        source="test",
        bundle_id="",
        stamp_ns=0,
        alive_stamp_ns=0,
        start_ns=0,
        period_ns=period_ns,
        joint_targets=rows,
        gripper_openings=np.zeros(len(rows)),
        execute_steps=len(rows),
        final=final,
    )


def path(function: np.ufunc, *, rows: int = 40, period_ns: int = 33_333_333) -> JointChunk:
    times = np.arange(rows) * period_ns * 1e-9
    return chunk(np.stack([function(times)] * 6, axis=1), period_ns=period_ns)


def run(made: JointChunk, *, start: JointMotion, ticks: int) -> tuple[np.ndarray, np.ndarray, Limiter]:
    reference = Reference(made, spliced_ns=0, start=start, fader=Fader(LIMITS), limits=LIMITS)
    limiter, motion = Limiter(limits=LIMITS, period_ns=PERIOD_NS), start
    sent, wanted = [start.positions] * 3, [start.positions] * 3
    for tick in range(ticks):
        motion = limiter.step(motion, reference=reference, stamp_ns=tick * PERIOD_NS)
        sent.append(motion.positions)
        wanted.append(reference.sample((tick + 1) * PERIOD_NS).positions)
    return np.array(sent), np.array(wanted), limiter


def assert_within_limits(sent: np.ndarray) -> None:
    for order, bound in enumerate((2.0, 8.0, 150.0), start=1):
        assert np.abs(np.diff(sent, n=order, axis=0)).max() / DT**order <= bound * (1 + 1e-6) + 1e-3


@given(speeds, accelerations)
@settings(max_examples=300)
def test_brake_is_as_fast_as_ruckig_and_ends_at_rest(v: list[float], a: list[float]) -> None:
    brake = plan_brake(JointMotion([0.0] * 6, v, a), LIMITS)
    plan = InputParameter(6)
    plan.control_interface = ControlInterface.Velocity
    plan.synchronization = Synchronization.No
    plan.current_position, plan.current_velocity, plan.current_acceleration = [0.0] * 6, v, a
    plan.target_velocity = plan.target_acceleration = [0.0] * 6
    plan.max_velocity, plan.max_acceleration, plan.max_jerk = [2.0] * 6, [8.0] * 6, [150.0] * 6
    trajectory = Trajectory(6)
    assert Ruckig(6, DT).calculate(plan, trajectory) in (Result.Working, Result.Finished)
    assert brake.duration_s == pytest.approx(trajectory.duration, abs=1e-6)
    np.testing.assert_allclose(brake.end, trajectory.at_time(trajectory.duration)[0], atol=1e-6)
    assert brake.at(brake.duration_s).is_at_rest


@given(speeds, accelerations)
@settings(max_examples=200)
def test_extremes_of_a_brake_enclose_its_way(v: list[float], a: list[float]) -> None:
    brake = plan_brake(JointMotion([0.3] * 6, v, a), LIMITS)
    way = np.array([brake.positions_at(t) for t in np.linspace(0.0, brake.duration_s, 200)])
    tops = np.array([brake.at(t).velocities for t in np.linspace(0.0, brake.duration_s, 200)])
    assert (way >= np.array(brake.low) - 1e-9).all()
    assert (way <= np.array(brake.high) + 1e-9).all()
    assert (np.abs(tops) <= np.array(brake.top_speeds) + 1e-9).all()
    assert (np.array(brake.high) - way.max(axis=0) < 1e-3).all()  # and not by much


@given(speeds, accelerations, st.floats(0.0, 0.4))
@settings(max_examples=200)
def test_the_rest_of_a_brake_is_the_brake_of_the_rest(v: list[float], a: list[float], t: float) -> None:
    brake = plan_brake(JointMotion([0.0] * 6, v, a), LIMITS)
    rest = plan_brake(brake.at(t), LIMITS)
    np.testing.assert_allclose(rest.end, brake.end, atol=1e-9)


def test_braking_from_full_speed_takes_three_hundred_milliseconds() -> None:
    # v / a + a / j = 2 / 8 + 8 / 150
    brake = plan_brake(JointMotion([0.0] * 6, [2.0] * 6, [0.0] * 6), LIMITS)
    assert brake.duration_s == pytest.approx(0.3033, abs=1e-3)


def test_a_path_within_the_limits_is_followed_without_error_or_chatter() -> None:
    made = path(lambda t: 0.3 * np.sin(3 * t))
    start = Reference(
        made, spliced_ns=0, start=JointMotion.at_rest([0.0] * 6), fader=Fader(LIMITS), limits=LIMITS
    )._chunk_sample(0)
    sent, wanted, _ = run(made, start=start, ticks=600)
    assert np.abs(sent - wanted)[10:].max() < 5e-6
    assert np.abs(np.diff(sent[10:], n=3, axis=0)).max() / DT**3 < 60.0


@pytest.mark.parametrize(
    "function",
    [
        lambda t: 0.8 * np.sin(4 * t),
        lambda t: np.where(t > 0.3, 0.4, 0.0),
        lambda t: np.random.default_rng(0).normal(0, 0.03, len(t)),
        lambda t: np.minimum(1.5 * t, 0.8),
    ],
    ids=["too fast", "step", "noise", "abrupt end"],
)
def test_a_path_beyond_the_limits_is_followed_within_them_and_reached(function: np.ufunc) -> None:
    made = path(function)
    sent, wanted, _ = run(made, start=JointMotion.at_rest([0.0] * 6), ticks=1200)
    assert_within_limits(sent)
    np.testing.assert_allclose(sent[-1], wanted[-1], atol=1e-4)


def test_a_splice_starts_from_the_commanded_state_and_fades_within_the_limits() -> None:
    start = JointMotion([0.25] * 6, [0.5] * 6, [1.0] * 6)
    reference = Reference(path(lambda t: 0.1 * t), spliced_ns=0, start=start, fader=Fader(LIMITS), limits=LIMITS)
    first = reference.sample(0)
    np.testing.assert_allclose(first.positions, start.positions, atol=1e-12)
    np.testing.assert_allclose(first.velocities, start.velocities, atol=1e-9)
    np.testing.assert_allclose(first.accelerations, start.accelerations, atol=1e-9)
    samples = np.array([reference.sample(t * PERIOD_NS).positions for t in range(600)])
    assert_within_limits(samples)
    assert samples[599][0] == pytest.approx(0.1 * 599 * DT, abs=1e-9)


def spliced(made: JointChunk) -> Reference:
    start = JointMotion.at_rest(made.joint_targets[0].tolist())
    return Reference(made, spliced_ns=0, start=start, fader=Fader(LIMITS), limits=LIMITS)


def test_smooth_rows_are_met_at_their_times() -> None:
    made = path(lambda t: 0.2 * np.sin(2 * t))
    reference = spliced(made)
    for row in (20, 30, 36):
        sample = reference.sample(row * made.period_ns)
        np.testing.assert_allclose(sample.positions, made.joint_targets[row], atol=1e-5)


def test_the_path_ends_at_rest_on_the_last_row() -> None:
    reference = spliced(made := path(lambda t: 0.2 * np.sin(2 * t)))
    end_ns = made.end_ns + made.period_ns
    assert not reference.ends_before(end_ns)
    assert reference.ends_before(end_ns + 1)
    last = reference.sample(end_ns - 1)
    np.testing.assert_allclose(last.positions, made.joint_targets[-1], atol=1e-6)
    np.testing.assert_allclose(last.velocities, 0.0, atol=1e-6)


def test_noisy_rows_never_lead_outside_their_hull() -> None:
    rows = np.random.default_rng(2).normal(0.0, 0.1, (30, 6))
    reference = spliced(made := chunk(rows))
    for stamp_ns in range(0, made.end_ns + made.period_ns, PERIOD_NS):
        if stamp_ns > 10**9:  # the fade onto the first row is over
            assert (np.array(reference.sample(stamp_ns).positions) <= rows.max(axis=0) + 1e-9).all()
            assert (np.array(reference.sample(stamp_ns).positions) >= rows.min(axis=0) - 1e-9).all()


@pytest.mark.parametrize("sigma", [0.001, 0.003, 0.01, 0.03])
def test_noise_beyond_what_the_arm_can_follow_is_not_amplified(sigma: float) -> None:
    rows = np.random.default_rng(0).normal(0.0, sigma, (60, 6))
    sent, _, _ = run(chunk(rows), start=JointMotion.at_rest([0.0] * 6), ticks=1000)
    assert sent.std() < sigma
    assert_within_limits(sent)


def test_a_swing_faster_than_the_arm_is_followed_smaller_not_larger() -> None:
    made = path(lambda t: 0.3 * np.sin(6 * t), rows=64)
    sent, _, _ = run(made, start=JointMotion.at_rest([0.0] * 6), ticks=1000)
    assert np.abs(sent).max() < 0.45
