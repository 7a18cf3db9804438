"""The robot's modes, safety and program in lockstep: no sockets, no waiting."""

import pytest

from mola_core.contracts.types import RobotMode, SafetyMode
from mola_twin.controller.cartesian import MoveLine
from mola_twin.controller.commands import COMMANDS
from mola_twin.controller.motions import MoveJoints
from mola_twin.controller.program import DONE, READY, ControlProgram
from mola_twin.controller.robot import Robot, RobotConfig, RuntimeState

HOME = (-0.29, -1.83, 1.71, -1.44, -1.57, -0.29)
MOVEJ, SERVOJ, SPEEDJ, SET_WATCHDOG, SET_TCP, STOP_SCRIPT = 1, 11, 9, 35, 29, 255


def run(robot: Robot, seconds: float) -> None:
    for _ in range(round(seconds / 0.002)):
        robot.step(0.002)


@pytest.fixture
def robot() -> Robot:
    """With the control program running."""
    robot = Robot(RobotConfig(initial_positions=HOME))
    assert robot.start_program(ControlProgram(robot=robot, commands=COMMANDS, offset=0, path=()))
    run(robot, 0.1)
    assert robot.program_running
    return robot


def command(robot: Robot, number: int, *doubles: float) -> None:
    """What a client's data package does."""
    robot.registers.input_double[: len(doubles)] = list(doubles)
    robot.registers.input_int[0] = number
    robot.inputs_written(frozenset({"input_int_register_0"}))


def moving(robot: Robot) -> None:
    command(robot, SPEEDJ, 0.5, 0, 0, 0, 0, 0, 5.0, 0.0)
    run(robot, 0.5)
    assert robot.joints.velocities[0] == pytest.approx(0.5, rel=1e-3)


def test_commands_run_once_and_report_done_until_cleared(robot: Robot) -> None:
    goal = [HOME[0] + 0.1, *HOME[1:]]
    command(robot, MOVEJ, *goal, 1.0, 5.0)
    run(robot, 0.1)
    assert robot.registers.output_int[0] == READY, "still moving"
    run(robot, 1.0)
    assert robot.registers.output_int[0] == DONE
    run(robot, 0.1)
    assert robot.joints.positions == pytest.approx(goal, abs=1e-6)
    command(robot, 0)
    run(robot, 0.004)
    assert robot.registers.output_int[0] == READY


def test_streamed_commands_stay_ready(robot: Robot) -> None:
    command(robot, SERVOJ, *HOME, 0, 0, 0.002, 0.05, 1000.0)
    run(robot, 0.1)
    assert robot.registers.output_int[0] == READY


def test_stop_script_ends_the_program_and_the_motion(robot: Robot) -> None:
    moving(robot)
    command(robot, STOP_SCRIPT)
    run(robot, 0.5)
    assert robot.runtime_state is RuntimeState.STOPPED
    assert robot.joints.speed < 1e-6


def test_the_watchdog_stops_the_program_one_period_after_the_last_write(robot: Robot) -> None:
    command(robot, SET_WATCHDOG, 20.0)
    run(robot, 0.004)
    command(robot, 0)
    moving_since = robot.time_s
    run(robot, 0.046)
    assert robot.program_running
    run(robot, 0.010)
    assert not robot.program_running
    assert robot.time_s - moving_since < 0.06
    assert robot.watchdog is None, "it must be set again after a re-upload"


def test_writing_other_inputs_does_not_feed_the_watchdog(robot: Robot) -> None:
    command(robot, SET_WATCHDOG, 20.0)
    run(robot, 0.004)
    for _ in range(100):
        robot.inputs_written(frozenset({"input_int_register_23"}))
        robot.step(0.002)
    assert not robot.program_running


def test_protective_stop_pauses_and_can_be_unlocked_after_five_seconds_only(robot: Robot) -> None:
    moving(robot)
    robot.protective_stop("test")
    run(robot, 0.2)
    assert robot.safety_mode is SafetyMode.PROTECTIVE_STOP
    assert robot.runtime_state is RuntimeState.PAUSED
    assert robot.joints.speed < 1e-6
    assert "until 5s" in robot.unlock_protective_stop()
    assert not robot.play(), "no motion while stopped"
    run(robot, 5.0)
    assert robot.unlock_protective_stop() == "Protective stop releasing"
    run(robot, 0.2)
    assert robot.joints.speed < 1e-6, "unlocking alone moves nothing"
    assert robot.play()
    run(robot, 1.0)
    assert robot.joints.velocities[0] == pytest.approx(0.5, rel=1e-3), "resuming continues what was interrupted"


def test_emergency_stop_switches_off_and_needs_power_and_brakes(robot: Robot) -> None:
    moving(robot)
    robot.emergency_stop()
    run(robot, 0.3)
    assert robot.robot_mode is RobotMode.POWER_OFF
    assert robot.program is None
    robot.power_on()
    run(robot, 2.0)
    assert robot.robot_mode is RobotMode.POWER_OFF, "not while the button is pressed"
    robot.release_emergency_stop()
    robot.power_on()
    run(robot, 1.1)
    assert robot.robot_mode is RobotMode.IDLE
    robot.release_brakes()
    run(robot, 0.6)
    assert robot.robot_mode is RobotMode.RUNNING
    assert robot.start_program(ControlProgram(robot=robot, commands=COMMANDS, offset=0, path=()))


def test_no_program_starts_while_stopped_or_switched_off(robot: Robot) -> None:
    program = ControlProgram(robot=robot, commands=COMMANDS, offset=0, path=())
    robot.protective_stop("test")
    assert not robot.start_program(program)
    robot.power_off()
    assert not robot.start_program(program)


def test_a_safeguard_stop_pauses_and_does_not_resume_by_itself(robot: Robot) -> None:
    moving(robot)
    robot.safeguard_stop(on=True)
    run(robot, 0.3)
    robot.safeguard_stop(on=False)
    run(robot, 0.3)
    assert robot.safety_mode is SafetyMode.NORMAL
    assert robot.runtime_state is RuntimeState.PAUSED
    assert robot.joints.speed < 1e-6


def test_a_collision_stops_once_and_can_be_left(robot: Robot) -> None:
    robot.contact_force = 400.0
    run(robot, 0.01)
    assert robot.safety_mode is SafetyMode.PROTECTIVE_STOP
    assert "400 N" in (robot.safety_popup or "")
    run(robot, 5.1)
    robot.unlock_protective_stop()
    run(robot, 0.1)
    assert robot.safety_mode is SafetyMode.NORMAL, "the same contact does not stop it again"


def test_a_joint_beyond_its_limit_stops_the_arm_and_may_come_back() -> None:
    robot = Robot(RobotConfig(initial_positions=(6.2, *HOME[1:])))
    robot.joints.start(MoveJoints(goal=[7.0, *HOME[1:]], speed=0.5, acceleration=2.0))
    run(robot, 2.0)
    assert robot.safety_mode is SafetyMode.PROTECTIVE_STOP
    run(robot, 5.0)
    robot.unlock_protective_stop()
    robot.joints.start(MoveJoints(goal=[6.0, *HOME[1:]], speed=0.5, acceleration=2.0))
    run(robot, 3.0)
    assert robot.safety_mode is SafetyMode.NORMAL
    assert robot.joints.positions[0] == pytest.approx(6.0, abs=1e-3)


def test_a_line_out_of_reach_protective_stops(robot: Robot) -> None:
    pose = robot.tool.pose(robot.joints.positions)
    robot.joints.start(MoveLine(tool=robot.tool, goal=[-2.0, *pose[1:]], speed=0.5, acceleration=2.0))
    run(robot, 5.0)
    assert robot.safety_mode is SafetyMode.PROTECTIVE_STOP
    assert "movel" in (robot.safety_popup or "")


def test_the_speed_slider_slows_and_zero_halts(robot: Robot) -> None:
    moving(robot)
    robot.set_speed_slider(0.5)
    run(robot, 1.0)
    assert robot.joints.velocities[0] == pytest.approx(0.25, rel=1e-2)
    robot.set_speed_slider(0.0)
    run(robot, 1.0)
    assert robot.joints.speed < 1e-6
    robot.set_speed_slider(0.5)
    run(robot, 0.01)
    assert robot.safety_mode is SafetyMode.PROTECTIVE_STOP, "never drive the slider to zero"


def test_a_runtime_error_shows_a_popup_and_stops(robot: Robot) -> None:
    command(robot, 12345)
    run(robot, 0.01)
    assert robot.program is None
    assert "12345" in (robot.popup or "")
