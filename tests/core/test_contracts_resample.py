"""The one resampler: rows on the contract's period, the same live as offline, gaps named."""

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.geometry import interpolate_poses, rotation_from_rotvec, rotvec_from_rotation
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.resample import Gap, Observation, ResampleLimits, Resampler, Row
from mola_core.contracts.types import CommandedState, Frame, RobotMode, RobotState, SafetyMode, StampDomain

CONTRACT = DataContract(cameras=("third_person", "wrist"), period_ns=100 * NS_PER_MS)
START_NS = 1_700_000_000 * 10**9


def frame(stamp_ns, sequence=0):
    color = np.full((2, 2, 3), sequence % 256, dtype=np.uint8)
    return Frame(stamp_ns, StampDomain.HOST_EPOCH, stamp_ns + 5 * NS_PER_MS, sequence, color, None)


def state(stamp_ns, value=0.0, opening: float | None = 0.5):
    pose = np.array([value, 0.0, 0.3, 0.0, np.pi - value, 0.0])
    return RobotState(
        stamp_ns, np.full(6, value), np.zeros(6), pose, opening, RobotMode.RUNNING, SafetyMode.NORMAL, 1.0
    )


def commanded(stamp_ns, value=0.0, opening: float | None = 1.0, source="spacemouse"):
    pose = np.array([value, 0.1, 0.3, 0.1, 3.0, value])
    return CommandedState(stamp_ns, np.full(6, value), pose, opening, source, 1, "")


def streams(duration_ms=2000, seed=0):
    """(arrival, kind, item) of jittered streams at 30, 30, 62.5 and 62.5 Hz, in the order of arrival."""
    rng = np.random.default_rng(seed)
    arrivals = []

    def add(kind, period_ms, make, delay_ms):
        for index in range(int(duration_ms / period_ms)):
            stamp_ns = START_NS + round((index * period_ms + rng.uniform(0, 0.3 * period_ms)) * NS_PER_MS)
            item = make(stamp_ns, index)
            arrivals.append((stamp_ns + round(rng.uniform(*delay_ms) * NS_PER_MS), kind, item))

    add("third_person", 1000 / 30, frame, (5, 30))
    add("wrist", 1000 / 30, frame, (5, 8))
    add("state", 16, lambda stamp, index: state(stamp, index * 0.01), (0, 2))
    add("commanded", 16, lambda stamp, index: commanded(stamp, index * 0.01, opening=float(index % 30 < 15)), (0, 2))
    return sorted(arrivals, key=lambda one: one[0])


def feed(resampler, kind, item):
    if kind == "state":
        resampler.add_state(item)
    elif kind == "commanded":
        resampler.add_commanded(item)
    else:
        resampler.add_frame(kind, item)


def in_order(arrivals):
    """Each stream sorted by its stamps, as drivers and bags deliver them; their order among each other is of arrival."""
    rest = {
        kind: iter(sorted((a for a in arrivals if a[1] == kind), key=lambda a: a[2].stamp_ns))
        for _, kind, _ in arrivals
    }
    return [(kind, next(rest[kind])[2]) for _, kind, _ in arrivals]


def live(messages):
    resampler = Resampler(CONTRACT)
    rows = []
    for kind, item in messages:
        feed(resampler, kind, item)
        rows += resampler.rows()
    return rows + list(resampler.finish())


def offline(messages):
    """Stream by stream, whole."""
    resampler = Resampler(CONTRACT)
    for kind, item in sorted(messages, key=lambda one: one[0]):
        feed(resampler, kind, item)
    return list(resampler.finish())


def flat(one):
    if isinstance(one, Gap):
        return (one.stamp_ns, one.reason)
    seen = one.observation
    frames = {name: (f.stamp_ns, f.sequence, f.color.tobytes()) for name, f in seen.frames.items()}
    return (seen.stamp_ns, frames, seen.state.tobytes(), one.action.tobytes(), one.source, one.bundle_id)


def test_live_rows_are_offline_rows_bit_for_bit():
    messages = in_order(streams())
    assert [flat(one) for one in live(messages)] == [flat(one) for one in offline(messages)]
    assert len(live(messages)) == 20


def test_live_gaps_are_offline_gaps():
    messages = [
        (kind, item)
        for kind, item in in_order(streams())
        if not (kind == "wrist" and 700 < (item.stamp_ns - START_NS) / NS_PER_MS < 1150)
    ]
    rows = live(messages)
    assert [flat(one) for one in rows] == [flat(one) for one in offline(messages)]
    gaps = [one for one in rows if isinstance(one, Gap)]
    assert 3 <= len(gaps) <= 4
    assert all("wrist: newest frame is" in gap.reason for gap in gaps)


def test_rows_hold_what_was_newest_and_interpolated():
    rows = offline(in_order(streams()))
    everything = in_order(streams())
    stamps = [one.observation.stamp_ns for one in rows]
    assert set(np.diff(stamps)) == {CONTRACT.period_ns}
    for one in rows:
        at = one.observation.stamp_ns
        for camera in CONTRACT.cameras:
            newest = max(item.stamp_ns for kind, item in everything if kind == camera and item.stamp_ns <= at)
            assert one.observation.frames[camera].stamp_ns == newest
        before = [item for kind, item in everything if kind == "state" and item.stamp_ns <= at][-1]
        after = next(item for kind, item in everything if kind == "state" and item.stamp_ns > at)
        part = (at - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
        want = (1 - part) * before.joint_positions + part * after.joint_positions
        np.testing.assert_allclose(one.observation.state[:6], want, atol=1e-12)
        asked = [item for kind, item in everything if kind == "commanded" and item.stamp_ns <= at][-1]
        assert one.action[6] == asked.gripper_opening
        assert asked.base_from_tcp[0] <= one.action[0] <= asked.base_from_tcp[0] + 0.01 + 1e-9


def test_rotations_are_interpolated_on_the_sphere_across_pi():
    first, second = np.array([0, 0, 0, 0.0, 3.1, 0.0]), np.array([1.0, 0, 0, 0.0, -3.1, 0.0])
    middle = interpolate_poses(first, second, 0.5)
    assert middle[0] == 0.5
    turned = rotvec_from_rotation(rotation_from_rotvec(first[3:]).T @ rotation_from_rotvec(middle[3:]))
    assert np.linalg.norm(turned) == pytest.approx(np.pi - 3.1, abs=1e-9)
    np.testing.assert_array_equal(interpolate_poses(first, second, 0.0), first)
    np.testing.assert_array_equal(interpolate_poses(first, second, 1.0), second)


def steady(skip=(), opening=0.5, asked=1.0):
    """Streams every 20 ms for a second, without the named ones in the middle."""
    messages = []
    for at in range(0, 1001, 20):
        stamp_ns = START_NS + at * NS_PER_MS
        items = {
            "third_person": frame(stamp_ns),
            "wrist": frame(stamp_ns),
            "state": state(stamp_ns, opening=opening),
            "commanded": commanded(stamp_ns, opening=asked),
        }
        messages += [(kind, item) for kind, item in items.items() if not (kind in skip and 300 < at < 700)]
    return messages


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (steady(skip=("wrist",)), "wrist: newest frame is"),
        (steady(skip=("state",)), "robot state: nothing for 400 ms"),
        (steady(skip=("commanded",)), "commanded state: nothing for 400 ms"),
        (steady(opening=None), "robot state: no gripper opening"),
        (steady(asked=None), "commanded state: nothing was asked of the gripper yet"),
    ],
)
def test_what_is_missing_is_named(messages, reason):
    gaps = [one for one in offline(messages) if isinstance(one, Gap)]
    assert gaps
    assert all(reason in gap.reason for gap in gaps)
    assert [flat(one) for one in live(messages)] == [flat(one) for one in offline(messages)]


def test_a_stream_that_dies_is_a_gap_and_one_that_ends_is_not():
    messages = [one for one in steady() if not (one[0] == "wrist" and one[1].stamp_ns > START_NS + 300 * NS_PER_MS)]
    rows = offline(messages)
    assert isinstance(rows[5], Gap)
    messages = [one for one in steady() if not (one[0] == "state" and one[1].stamp_ns > START_NS + 940 * NS_PER_MS)]
    rows = offline(messages)
    assert len(rows) == 10
    assert not any(isinstance(one, Gap) for one in rows)


def test_half_the_rate_is_still_rows():
    kept = [one for at, one in enumerate(in_order(streams())) if not (one[0] == "wrist" and one[1].sequence % 2)]
    rows = offline(kept)
    assert all(isinstance(one, Row) for one in rows)


def test_late_items_are_passed_over_and_counted():
    resampler = Resampler(CONTRACT)
    resampler.add_state(state(START_NS + 1))
    resampler.add_state(state(START_NS))
    resampler.add_state(state(START_NS + 1))
    assert resampler.late == {"robot state": 2}


def test_a_policy_observes_at_the_newest_certain_instant():
    resampler = Resampler(CONTRACT, actions=False)
    assert resampler.ready_ns is None
    for kind, item in steady():
        if kind != "commanded":
            feed(resampler, kind, item)
    resampler.add_frame("wrist", frame(START_NS + 1010 * NS_PER_MS))
    assert resampler.ready_ns == START_NS + 1000 * NS_PER_MS
    seen = resampler.observation(resampler.ready_ns)
    assert isinstance(seen, Observation)
    assert seen.frames["wrist"].stamp_ns == START_NS + 1000 * NS_PER_MS
    assert seen.state.shape == (len(CONTRACT.state),)


def test_memory_is_bounded_while_a_stream_is_silent():
    resampler = Resampler(CONTRACT, keep_ns=2000 * NS_PER_MS)
    for at in range(0, 60_000, 20):
        stamp_ns = START_NS + at * NS_PER_MS
        if at < 1000:  # the wrist camera dies early on
            resampler.add_frame("wrist", frame(stamp_ns))
        resampler.add_frame("third_person", frame(stamp_ns))
        resampler.add_state(state(stamp_ns))
        resampler.add_commanded(commanded(stamp_ns))
        list(resampler.rows())
    assert max(len(stream._items) for stream in resampler._streams().values()) <= 102


def test_limits_can_be_set():
    messages = steady(skip=("wrist",))
    limits = ResampleLimits(frame_age_ns=500 * NS_PER_MS)
    resampler = Resampler(CONTRACT, limits=limits)
    for kind, item in messages:
        feed(resampler, kind, item)
    assert all(isinstance(one, Row) for one in resampler.finish())
