"""An unmodified ur_rtde client moves the twin and is told the truth about it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mola_core.contracts.geometry import compose_poses, pose_from_transform
from mola_core.control.kinematics import forward_kinematics
from mola_twin.fault_client import FaultClient

Play = Callable[[str], Any]


@pytest.fixture
def twin(shared_twin: object) -> object:
    """A new client re-uploads its program, whatever the one before left; that saves a start for each test."""
    return shared_twin


def test_receive_streams_every_tick_of_the_controller(play: Play) -> None:
    seen = play("stream")
    steps = np.diff(seen["stamps"]) / 0.002
    assert seen["ordered"]
    assert seen["mode"] == 7
    assert np.allclose(steps, np.round(steps), atol=1e-3)
    assert len(seen["stamps"]) > 100


def test_move_j_arrives(play: Play) -> None:
    seen = play("move_j")
    assert seen["done"]
    assert seen["target"] == pytest.approx(seen["goal"], abs=1e-9)
    assert seen["q"] == pytest.approx(seen["goal"], abs=1e-3)


def test_servo_j_tracks_and_holds_the_last_target_in_silence(play: Play) -> None:
    seen = play("servo_j")
    assert seen["worst"] < 0.2 * 0.15  # peak speed 0.2 rad/s times a generous lag
    assert seen["held"] == pytest.approx(seen["target"], abs=1e-3)
    assert seen["later"] == pytest.approx(seen["held"], abs=1e-4)
    assert seen["stopped"]


def test_speed_j_keeps_moving_in_silence_until_told_to_stop(play: Play) -> None:
    seen = play("speed_j")
    assert seen["moving"][0] == pytest.approx(0.1, rel=1e-2)
    assert seen["stopped"]
    assert max(map(abs, seen["after"])) < 1e-3


def test_lines_are_straight_in_the_base_frame(play: Play) -> None:
    seen = play("lines")
    assert seen["done"]
    assert seen["reached"] == pytest.approx(seen["goal"], abs=1e-3)
    assert seen["speed"] == pytest.approx([0, 0, 0.05, 0, 0, 0], abs=1e-3)
    assert seen["stopped"]


def test_paths_and_simple_custom_scripts_run(play: Play) -> None:
    seen = play("paths")
    assert seen["done"]
    assert seen["moved"] == pytest.approx(0.2, abs=1e-3)
    assert seen["custom"]
    assert seen["back"] == pytest.approx(0.0, abs=1e-3)


def test_an_asynchronous_move_reports_progress_and_can_be_stopped(play: Play) -> None:
    seen = play("asynchronous")
    assert seen["running"] >= 0
    assert seen["ended"] < 0
    assert max(map(abs, seen["qd"])) < 1e-3
    assert seen["steady"]


def test_kinematics_on_the_controller_are_ours(play: Play) -> None:
    seen = play("answers")
    expected = pose_from_transform(forward_kinematics(seen["q"], seen["offset"]))
    assert seen["offset"] == pytest.approx([0.0, 0.0, 0.163, 0.1, 0.0, 0.0])
    assert seen["pose"] == pytest.approx(expected.tolist(), abs=1e-9)
    assert seen["inverse"] == pytest.approx(seen["q"], abs=1e-6)
    assert seen["flange"] == pytest.approx(pose_from_transform(forward_kinematics(seen["q"])).tolist(), abs=1e-9)
    assert seen["trans"] == pytest.approx(
        compose_poses(np.array(seen["pose"]), np.array([0, 0, 0.1, 0, 0, 0])).tolist(), abs=1e-9
    )
    assert (seen["payload"], seen["cog"]) == (1.2, [0.0, 0.0, 0.05])
    assert seen["reachable"]
    assert seen["within"]
    assert not seen["unreachable"]
    assert seen["step"] == 0.002
    assert seen["running"]


def test_an_unreachable_servo_l_is_accepted_and_then_kills_the_program(play: Play, faults: FaultClient) -> None:
    assert play("unreachable") == {"said": True, "stopped": True}
    assert "get_inverse_kin" in (faults.status().popup or "") or "reach" in (faults.status().popup or "")


def test_an_unsupported_command_stops_the_program_and_says_which(play: Play, faults: FaultClient) -> None:
    seen = play("unsupported")
    assert seen == {"said": True, "stopped": True, "next": False}
    popup = faults.status().popup or ""
    assert "FORCE_MODE" in popup
    assert "mola twin commands" in popup


def test_two_threads_may_not_move_the_arm(play: Play, faults: FaultClient) -> None:
    assert play("two_threads") == {"moved": False, "running": False}
    assert "another thread" in (faults.status().popup or "")


def test_a_second_control_client_is_refused_its_inputs(play: Play) -> None:
    seen = play("second_control")
    assert "already in use" in seen["error"]
    assert seen["first"]


def test_io_outputs_and_speed_slider(play: Play) -> None:
    seen = play("outputs")
    assert seen["bits"] == 1 << 3 | 1 << 9 | 1 << 16
    assert seen["cleared"]
    assert seen["slider"] == 0.4
    assert seen["scaling"] == pytest.approx(0.4)
    assert seen["analog"] == pytest.approx(0.5)


def test_a_hand_moves_the_arm_in_freedrive(client: Callable[[str], Any], faults: FaultClient) -> None:
    running = client("freedrive")
    assert running.line() == "free"
    faults.push([15.0, 0, 0, 0, 0, 0], seconds=1.0)
    running.go_on()
    seen = running.result()
    assert seen["pushed"]
    assert max(map(abs, seen["qd"])) < 1e-3
