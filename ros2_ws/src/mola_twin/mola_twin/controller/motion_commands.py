"""The commands that move the arm: moves, streams, stops, jogging, hand guiding.

Argument registers are those of ``rtde_control.script`` in ur_rtde 1.6.5, oddities included.
"""

from mola_twin.controller.cartesian import MoveLine, SpeedLine, stop_line
from mola_twin.controller.command import Command
from mola_twin.controller.motions import Freedrive, Hold, Motion, MoveJoints, SpeedJoints, stop_joints
from mola_twin.controller.poses import Tool
from mola_twin.controller.program import ControlProgram, Steps
from mola_twin.controller.robot import ProgramError
from mola_twin.controller.statements import run_statements


def _move(p: ControlProgram, motion: Motion) -> Steps | None:
    """One of the four moves: asynchronous in a thread of its own, or blocking."""
    p.kill_thread("move")
    if p.integer(1) == 1:
        p.start_thread("move", _async_steps(p, p.run_motion(motion)))
        return None
    p.require_control()
    return p.run_motion(motion)


def _async_steps(p: ControlProgram, steps: Steps) -> Steps:
    p.signal_progress(0)
    try:
        yield from steps
    finally:
        p.signal_progress(-1)


def _move_j(p: ControlProgram) -> Steps | None:
    *goal, speed, acceleration = p.doubles(0, 8)
    return _move(p, MoveJoints(goal=goal, speed=speed, acceleration=acceleration))


def _move_j_ik(p: ControlProgram) -> Steps | None:
    *pose, speed, acceleration = p.doubles(0, 8)
    goal = p.tool.solve(pose, near=p.robot.joints.positions)
    return _move(p, MoveJoints(goal=goal, speed=speed, acceleration=acceleration))


def _move_l(p: ControlProgram) -> Steps | None:
    *pose, speed, acceleration = p.doubles(0, 8)
    return _move(p, MoveLine(tool=p.tool, goal=pose, speed=speed, acceleration=acceleration))


def _move_l_fk(p: ControlProgram) -> Steps | None:
    *goal, speed, acceleration = p.doubles(0, 8)
    return _move(p, MoveLine(tool=p.tool, goal=p.tool.pose(goal), speed=speed, acceleration=acceleration))


def _move_path(p: ControlProgram) -> Steps | None:
    p.kill_thread("move")
    steps = run_statements(p.robot, p.path, signal_progress=p.signal_progress)
    if p.integer(1) == 1:
        p.start_thread("move", _async_steps(p, steps))
        return None
    p.require_control()
    return steps


def _stop(p: ControlProgram) -> Steps | None:
    """StopL and stopJ share one function in the script, and it takes the kind from a global, not from the command.

    The global says stopj until an asynchronous stop of either kind sets it to stopl.
    """
    (deceleration,) = p.doubles(0, 1)
    if not p.kill_thread("stop"):
        p.kill_thread("move")
    if p.integer(1) == 1:
        p.stop_along_line = True
        p.start_thread("stop", _async_steps(p, p.run_motion(_stop_motion(p, deceleration))))
        return None
    p.require_control()
    return p.run_motion(_stop_motion(p, deceleration))


def _stop_motion(p: ControlProgram, deceleration: float) -> Motion:
    if p.stop_along_line:
        return stop_line(tool=p.tool, acceleration=deceleration)
    return stop_joints(acceleration=deceleration)


def _forever() -> Steps:
    """A servo or speed thread: what it does is in the joints' motion; it lives until it is killed."""
    while True:
        yield


def _servo_j(p: ControlProgram) -> None:
    *target, _speed, _acceleration, _time, lookahead_s, gain = p.doubles(0, 11)
    if not p.running("servo"):
        p.start_thread("servo", _forever())
    p.robot.joints.servo(target, lookahead_s=lookahead_s, gain=gain)


def _servo_l(p: ControlProgram) -> None:
    *pose, _speed, _acceleration, _time, lookahead_s, gain = p.doubles(0, 11)
    target = p.tool.solve(pose, near=p.robot.joints.positions)
    if not p.running("servo"):
        p.start_thread("servo", _forever())
    p.robot.joints.servo(target, lookahead_s=lookahead_s, gain=gain)


def _servo_stop(p: ControlProgram) -> Steps:
    p.kill_thread("servo")
    (deceleration,) = p.doubles(0, 1)
    return p.run_motion(stop_line(tool=p.tool, acceleration=deceleration))


def _speed_j(p: ControlProgram) -> None:
    *velocity, acceleration, _time = p.doubles(0, 8)
    motion = p.robot.joints.motion
    if p.running("speed") and isinstance(motion, SpeedJoints):
        if motion.velocity == velocity and motion.acceleration == acceleration:
            return
    elif not p.running("speed"):
        p.start_thread("speed", _forever())
    p.robot.joints.start(SpeedJoints(velocity=velocity, acceleration=acceleration))


def _speed_line(p: ControlProgram, *, thread: str, velocity: list[float], acceleration: float) -> None:
    motion = p.robot.joints.motion
    if p.running(thread) and isinstance(motion, SpeedLine):
        motion.retarget(velocity=velocity, acceleration=acceleration)
        return
    if not p.running(thread):
        p.start_thread(thread, _forever())
    p.robot.joints.start(SpeedLine(tool=p.tool, velocity=velocity, acceleration=acceleration))


def _speed_l(p: ControlProgram) -> None:
    *velocity, acceleration, _time = p.doubles(0, 8)
    _speed_line(p, thread="speed", velocity=velocity, acceleration=acceleration)


def _speed_stop(p: ControlProgram) -> Steps:
    along_line = isinstance(p.robot.joints.motion, SpeedLine)
    p.kill_thread("speed")
    (deceleration,) = p.doubles(0, 1)
    if along_line:
        return p.run_motion(stop_line(tool=p.tool, acceleration=deceleration))
    return p.run_motion(stop_joints(acceleration=deceleration))


def _jog_start(p: ControlProgram) -> None:
    velocity = p.doubles(0, 6)
    feature, acceleration = p.doubles(6, 2)
    frame = {0: [0.0] * 6, 1: p.tool.pose(p.robot.joints.positions), 2: p.doubles(8, 6)}.get(int(feature))
    if frame is None:
        raise ProgramError(f"jogStart: feature {feature:g} is none of base (0), tool (1), custom (2)")
    rotation = Tool(frame).flange_from_tcp[:3, :3]
    velocity = [*(rotation @ velocity[:3]), *(rotation @ velocity[3:])]
    _speed_line(p, thread="jog", velocity=velocity, acceleration=acceleration)


def _jog_stop(p: ControlProgram) -> Steps:
    p.kill_thread("jog")
    return p.run_motion(stop_line(tool=p.tool, acceleration=1.2))


def _freedrive(p: ControlProgram) -> None:
    p.require_control()
    p.robot.joints.start(Freedrive())


def _end_freedrive(p: ControlProgram) -> None:
    p.robot.joints.start(Hold())


def _freedrive_status(p: ControlProgram) -> None:
    p.answer(0)


MOTION_COMMANDS = (
    Command(1, "MOVEJ", "moveJ", _move_j),
    Command(2, "MOVEJ_IK", "moveJ_IK", _move_j_ik),
    Command(3, "MOVEL", "moveL", _move_l),
    Command(4, "MOVEL_FK", "moveL_FK", _move_l_fk),
    Command(9, "SPEEDJ", "speedJ", _speed_j, every_cycle=True, note="keeps moving for ever, time is ignored"),
    Command(10, "SPEEDL", "speedL", _speed_l, every_cycle=True, note="keeps moving for ever, time is ignored"),
    Command(11, "SERVOJ", "servoJ", _servo_j, every_cycle=True),
    Command(15, "SPEED_STOP", "speedStop", _speed_stop),
    Command(16, "SERVO_STOP", "servoStop", _servo_stop),
    Command(18, "TEACH_MODE", "teachMode", _freedrive),
    Command(19, "END_TEACH_MODE", "endTeachMode", _end_freedrive),
    Command(24, "SERVOL", "servoL", _servo_l, every_cycle=True, note="an unreachable pose stops the program"),
    Command(33, "STOPL", "stopL", _stop, note="runs stopj unless asynchronous, as the real script does"),
    Command(34, "STOPJ", "stopJ", _stop, note="runs stopl when asynchronous, as the real script does"),
    Command(41, "JOG_START", "jogStart", _jog_start),
    Command(42, "JOG_STOP", "jogStop", _jog_stop),
    Command(45, "MOVE_PATH", "moveJ, moveL, movePath", _move_path, note="blend radii are ignored"),
    Command(52, "FREEDRIVE_MODE", "freedriveMode", _freedrive, note="all joints are free whatever the axes"),
    Command(53, "END_FREEDRIVE_MODE", "endFreedriveMode", _end_freedrive),
    Command(54, "GET_FREEDRIVE_STATUS", "getFreedriveStatus", _freedrive_status, note="singularities are not reported"),
)
