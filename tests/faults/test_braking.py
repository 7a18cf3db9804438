"""The stop is read off records whose answer is known."""

import numpy as np
import pytest

from mola_core.contracts.errors import MolaError
from mola_nodes.faults.braking import ArmTrace, measure_stop

STEP_NS = 2_000_000
FAULT_NS = 400_000_000


def trace(speeds: np.ndarray, *, stopped_row: int | None = None) -> ArmTrace:
    velocities = np.zeros((speeds.size, 6))
    velocities[:, 2] = -speeds
    running = np.ones(speeds.size, dtype=bool)
    if stopped_row is not None:
        running[stopped_row:] = False
    return ArmTrace(
        stamps_ns=np.arange(speeds.size, dtype=np.int64) * STEP_NS, joint_velocities=velocities, program_running=running
    )


def cruise_then_brake(*, delay_rows: int, brake_rows: int) -> np.ndarray:
    return np.concatenate([np.full(200 + delay_rows, 0.8), np.linspace(0.8, 0.0, brake_rows), np.zeros(300)])


def test_a_constant_speed_braked_after_a_known_delay() -> None:
    stop = measure_stop(trace(cruise_then_brake(delay_rows=25, brake_rows=50)), fault_ns=FAULT_NS)
    assert stop.speed_at_fault == pytest.approx(0.8)
    assert stop.onset_ms == pytest.approx(50.0, abs=4.0)
    assert stop.rest_ms == pytest.approx(150.0, abs=6.0)
    assert stop.program_stopped_ms is None
    assert stop.moved_after_rest == 0.0


def test_an_arm_that_was_already_slowing_counts_from_the_fault() -> None:
    speeds = np.concatenate([np.linspace(1.0, 0.5, 201), np.linspace(0.5, 0.0, 40), np.zeros(300)])
    stop = measure_stop(trace(speeds), fault_ns=FAULT_NS)
    assert stop.onset_ms <= 2.0


def test_a_stopped_program_is_the_onset_when_it_comes_first() -> None:
    stop = measure_stop(trace(cruise_then_brake(delay_rows=60, brake_rows=50), stopped_row=220), fault_ns=FAULT_NS)
    assert stop.program_stopped_ms == pytest.approx(40.0)
    assert stop.onset_ms == pytest.approx(40.0)


def test_an_arm_that_moves_again_rests_only_after_that() -> None:
    speeds = cruise_then_brake(delay_rows=0, brake_rows=50)
    speeds[400:410] = 0.3
    stop = measure_stop(trace(speeds), fault_ns=FAULT_NS)
    assert stop.rest_ms == pytest.approx((410 - 200) * 2.0)
    assert stop.onset_ms > 300.0


def test_creeping_after_rest_is_reported() -> None:
    speeds = cruise_then_brake(delay_rows=0, brake_rows=50)
    speeds[300:] = 0.005
    stop = measure_stop(trace(speeds), fault_ns=FAULT_NS)
    assert stop.moved_after_rest == pytest.approx(0.005 * 0.002 * (speeds.size - 301), rel=0.05)


@pytest.mark.parametrize(
    ("speeds", "fault_ns", "message"),
    [
        (np.zeros(500), FAULT_NS, "not moving"),
        (np.full(500, 0.5), FAULT_NS, "still moved"),
        (np.full(500, 0.5), 10_000_000_000, "does not cover"),
    ],
)
def test_records_that_prove_nothing_are_refused(speeds: np.ndarray, fault_ns: int, message: str) -> None:
    with pytest.raises(MolaError, match=message):
        measure_stop(trace(speeds), fault_ns=fault_ns)
