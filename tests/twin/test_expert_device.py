"""The expert with a stick in its hand, against a world that stands still or moves as it is pushed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import TeleopError
from mola_core.contracts.geometry import rotation_from_rotvec
from mola_core.contracts.site import load_site
from mola_core.contracts.teleop import Twist
from mola_twin.cell import layout
from mola_twin.tasks.truth import ObjectTruth, Truth
from mola_twin.teleop.expert_device import ExpertTeleop
from mola_twin.teleop.steering import Steering, homeward

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")


def truth(**changes: Any) -> Truth:
    place = np.eye(4)
    place[:3, 3] = (-0.5, 0.1, 0.0)
    home = layout.top_down(np.array(layout.HOME_TCP), 0.0)
    made = Truth(
        stamp_ns=NS_PER_S,
        elapsed_s=2.0,
        task="press_button",
        stack_top="",
        stack_bottom="",
        base_from_tcp=home,
        gripper_opening=1.0,
        objects={"button": ObjectTruth(place, 0.0, 0.0)},
        drawer_opening=0.0,
        drawer_speed=0.0,
        handle_position=np.zeros(3),
        button_travel=0.0,
        button_position=np.array([-0.5, 0.1, 0.05]),
        button_pressed=False,
    )
    return replace(made, **changes)


def moved(state: Truth, motion: Twist, seconds: float) -> Truth:
    pose = state.base_from_tcp.copy()
    pose[:3, 3] += seconds * motion.velocity[:3]
    pose[:3, :3] = rotation_from_rotvec(seconds * motion.velocity[3:]) @ pose[:3, :3]
    return replace(state, base_from_tcp=pose, stamp_ns=state.stamp_ns + round(seconds * NS_PER_S))


def test_pushing_as_it_says_leads_onto_the_button():
    steering, state = Steering("press_button"), truth()
    lowest = 1.0
    for _ in range(600):
        motion, _ = steering.steer(state)
        state = moved(state, motion, 0.04)
        lowest = min(lowest, float(state.base_from_tcp[2, 3]))
    assert lowest < 0.05
    assert np.abs(state.base_from_tcp[:2, 3] - [-0.5, 0.1]).max() < 0.2


def test_the_way_home_ends_at_home():
    low = truth().base_from_tcp.copy()
    low[:3, 3] = (-0.6, 0.2, 0.05)
    state = truth(base_from_tcp=low)
    first = homeward(state)
    assert first.velocity[2] > 0.9 * np.linalg.norm(first.velocity[:3])  # up before over
    for _ in range(400):
        motion = homeward(state)
        if motion is None:
            return
        state = moved(state, motion, 0.04)
    pytest.fail("never home")


def test_it_takes_hold_after_a_look_lets_go_when_done_and_presses_anew_when_pushing_is_of_no_use():
    device = ExpertTeleop(SITE, world_host="127.0.1.98")
    device._alive = True
    device._decide(truth(elapsed_s=0.1), done=False)
    assert not device._enabled
    device._decide(truth(), done=False)
    assert device._enabled
    held = []
    for step in range(100):
        device._decide(truth(stamp_ns=NS_PER_S + step * 40_000_000, elapsed_s=2.0 + step * 0.04), done=False)
        held.append(device._enabled)
    assert not all(held)  # the arm did not move: it had been stopped
    assert any(held[60:])
    device._decide(truth(elapsed_s=7.0), done=True)
    assert not device._enabled


def test_without_a_world_it_does_not_open():
    with pytest.raises(TeleopError, match="sees no scene"):
        ExpertTeleop(SITE, world_host="127.0.1.98").__enter__()
    with pytest.raises(TeleopError, match="not open"):
        ExpertTeleop(SITE, world_host="127.0.1.98").read(0)
