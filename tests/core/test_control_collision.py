"""Margins, and the proof that a whole braking motion keeps them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mola_core.contracts.site import load_site
from mola_core.control.brake import plan_brake
from mola_core.control.clearance import ClearanceProof
from mola_core.control.collision import Capsule, CollisionModel, capsule_distance
from mola_core.control.motion import JointMotion, MotionLimits

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
MODEL = CollisionModel(SITE)
HOME = np.array(SITE.arm.home)
LIMITS = MotionLimits.of(SITE.arm)

coordinate = st.floats(-1.0, 1.0)
point = st.tuples(coordinate, coordinate, coordinate)


@given(point, point, point, point)
@settings(max_examples=300)
def test_capsule_distance_is_the_smallest_between_any_two_points(a: tuple, b: tuple, c: tuple, d: tuple) -> None:
    distance = capsule_distance(Capsule(a, b, 0.0), Capsule(c, d, 0.0))
    t = np.linspace(0.0, 1.0, 41)[:, None]
    first, second = np.array(a) + t * (np.array(b) - a), np.array(c) + t * (np.array(d) - c)
    sampled = np.linalg.norm(first[:, None] - second[None], axis=2).min()
    assert distance <= sampled + 5e-6  # segments shorter than a micrometre count as points
    assert distance >= sampled - 0.1  # half a sample of two segments


def test_home_is_clear() -> None:
    assert min(MODEL.margins(HOME.tolist())) > 0.02


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ([0, 0.9, 0, 0, 0, 0], "table"),
        ([0, 0, 1.1, 0, 0, 0], "table"),
        ([0, 0, 0.9, 1.2, 0, 0], "upper_arm"),
        ([0, -0.6, 1.2, 0, 0, 0], "base"),
        ([0, 0, 0, 0, -1.5, 0], "forearm"),
        ([0, -0.9, 1.1, 0, 0, 0], "workspace"),
        ([1.6, 0, 0, 0, 0, 0], "workspace"),
    ],
)
def test_what_is_too_close_has_a_negative_margin(change: list[float], field: str) -> None:
    assert getattr(MODEL.margins((HOME + change).tolist()), field) < 0.0


joints = st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6)


@given(joints, st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6))
@settings(max_examples=300)
def test_margins_change_no_faster_than_the_levers_say(at: list[float], change: list[float]) -> None:
    before = MODEL.margins((HOME + at).tolist())
    after = MODEL.margins((HOME + at + change).tolist())
    for old, new, levers in zip(before, after, MODEL.levers, strict=True):
        assert abs(new - old) <= np.dot(levers, np.abs(change)) + 1e-9


@given(joints, st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_braking_motion_proven_clear_is_clear_everywhere(at: list[float], velocities: list[float]) -> None:
    start = (HOME + 0.5 * np.array(at)).tolist()
    brake = plan_brake(JointMotion(start, velocities, [0.0] * 6), LIMITS)
    if ClearanceProof(MODEL).obstacle(brake):
        return
    for t in np.linspace(0.0, brake.duration_s, 100):
        assert min(MODEL.margins(brake.positions_at(t))) >= 0.0


def test_slow_motion_near_the_table_is_proven_clear_and_a_dive_is_not() -> None:
    near_table = [-0.2893, -1.5134, 2.3811, -2.4385, -1.5708, -0.2894]
    assert 0.0 < MODEL.margins(near_table).table < 0.06
    creep = plan_brake(JointMotion(near_table, [0.2, 0.01, 0.0, 0.0, 0.0, 0.0], [0.0] * 6), LIMITS)
    assert ClearanceProof(MODEL).obstacle(creep) == ""
    dive = plan_brake(JointMotion(near_table, [0.0, 1.5, 0.0, 0.0, 0.0, 0.0], [0.0] * 6), LIMITS)
    assert ClearanceProof(MODEL).obstacle(dive) != ""
