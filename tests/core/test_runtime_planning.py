"""When a policy is asked, which rows of a running plan are settled, and what becomes of its time."""

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.io_spec import CameraView, DataContract, IoSpec
from mola_core.contracts.types import ActionChunk
from mola_core.runtime.planning import ExecutionMode, Pace, chunk_of, settled_rows, slowed
from mola_core.runtime.policy import PolicyAnswer

PERIOD_NS = 100 * NS_PER_MS
IO = IoSpec(
    contract=DataContract(cameras=("wrist",), period_ns=PERIOD_NS),
    views=(CameraView(camera="wrist", width=64, height=64),),
    horizon=10,
    execute_steps=4,
    foresight_offsets=(2, 4),
)
STAMP_NS = 5_000 * NS_PER_MS


def running_chunk(mode: ExecutionMode = ExecutionMode.RECEDING) -> ActionChunk:
    """x grows by 1 cm a row, the gripper closes."""
    targets = np.zeros((10, 6))
    targets[:, 0] = 0.01 * np.arange(10)
    answer = PolicyAnswer(stamp_ns=STAMP_NS, targets=targets, openings=np.linspace(1.0, 0.1, 10))
    pace = Pace(mode=mode, io=IO)
    return chunk_of(answer, io=IO, execute_steps=pace.execute_steps, bundle_id="m/1")


def test_the_first_row_is_due_one_period_after_what_was_seen() -> None:
    chunk = running_chunk()
    assert chunk.start_ns == STAMP_NS + PERIOD_NS
    assert (chunk.execute_steps, chunk.bundle_id, chunk.final) == (4, "m/1", False)
    assert running_chunk(ExecutionMode.WHOLE).execute_steps == 10


@pytest.mark.parametrize(("mode", "rows"), [(ExecutionMode.WHOLE, 10), (ExecutionMode.RECEDING, 4)])
def test_the_next_answer_is_asked_for_in_time_for_the_last_meant_row(mode: ExecutionMode, rows: int) -> None:
    pace = Pace(mode=mode, io=IO)
    chunk = running_chunk(mode)
    pace.note_delay(70 * NS_PER_MS)
    last_ns = STAMP_NS + rows * PERIOD_NS
    assert not pace.due(chunk, now_ns=last_ns - 71 * NS_PER_MS)
    assert pace.due(chunk, now_ns=last_ns - 70 * NS_PER_MS)
    assert pace.due(None, now_ns=0)


def test_realtime_answers_every_foresight() -> None:
    pace = Pace(mode=ExecutionMode.REALTIME, io=IO)
    assert pace.due(running_chunk(), now_ns=STAMP_NS)


def test_a_slow_answer_is_remembered_for_a_while() -> None:
    pace = Pace(mode=ExecutionMode.REALTIME, io=IO)
    pace.note_delay(100)
    pace.note_delay(10)
    assert pace.delay_ns == 95
    for _ in range(100):
        pace.note_delay(10)
    assert pace.delay_ns == 10


def test_one_hiccup_does_not_cut_short_what_is_meant_to_be_executed() -> None:
    pace = Pace(mode=ExecutionMode.RECEDING, io=IO)
    for delay_ms in (70, 400, 90, 80):
        pace.note_delay(delay_ms * NS_PER_MS)
    assert pace.delay_ns == 85 * NS_PER_MS
    assert pace.due_ns(running_chunk()) == STAMP_NS + (400 - 85) * NS_PER_MS


def test_settled_rows_lie_on_the_running_plan() -> None:
    rows = settled(later_ms=150, delay_ms=230)
    assert rows is not None
    # due at 250 and 350 ms after the first stamp: half-way between rows 1 and 2, and between rows 2 and 3
    np.testing.assert_allclose(rows[:, 0], [0.015, 0.025])
    np.testing.assert_allclose(rows[:, 6], [0.85, 0.75])
    first = settled(later_ms=150, delay_ms=230, at_most=1)
    assert first is not None
    np.testing.assert_allclose(first, rows[:1])


@pytest.mark.parametrize(
    ("later_ms", "delay_ms", "at_most"), [(0, 99, 8), (950, 300, 8), (-300, 250, 8), (150, 230, 0)]
)
def test_nothing_is_settled_where_the_plan_does_not_reach(later_ms: int, delay_ms: int, at_most: int) -> None:
    assert settled(later_ms=later_ms, delay_ms=delay_ms, at_most=at_most) is None


def settled(*, later_ms: int, delay_ms: int, at_most: int = 8) -> np.ndarray | None:
    stamp_ns, delay_ns = STAMP_NS + later_ms * NS_PER_MS, delay_ms * NS_PER_MS
    return settled_rows(running_chunk(), stamp_ns=stamp_ns, period_ns=PERIOD_NS, delay_ns=delay_ns, at_most=at_most)


def test_a_slowed_plan_is_where_it_was_now_and_later_afterwards() -> None:
    chunk = running_chunk()
    now_ns = chunk.start_ns + 2 * PERIOD_NS
    slow = slowed(chunk, factor=2.0, now_ns=now_ns)
    assert slow.period_ns == 2 * PERIOD_NS
    assert slow.start_ns + 2 * slow.period_ns == now_ns
    assert slowed(chunk, factor=1.0, now_ns=now_ns) is chunk
    assert slowed(chunk, factor=3.0, now_ns=0).start_ns == chunk.start_ns
