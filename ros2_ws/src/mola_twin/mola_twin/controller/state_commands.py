"""The commands that set or ask something and are done within their cycle.

Argument registers are those of ``rtde_control.script`` in ur_rtde 1.6.5.
"""

import numpy as np

from mola_core.contracts.errors import UnreachablePoseError
from mola_core.contracts.geometry import compose_poses
from mola_twin.controller.cartesian import MoveLine
from mola_twin.controller.command import Command
from mola_twin.controller.motions import MoveJoints
from mola_twin.controller.poses import Tool
from mola_twin.controller.program import ControlProgram
from mola_twin.controller.robot import POSITION_LIMIT, TICK_S, ProgramError, Watchdog


def _set_payload(p: ControlProgram) -> None:
    mass, *cog = p.doubles(0, 4)
    p.robot.payload_kg = mass
    if any(cog):
        p.robot.payload_cog = cog


def _set_target_payload(p: ControlProgram) -> None:
    _set_payload(p)
    p.robot.payload_inertia = p.doubles(4, 6)


def _set_tcp(p: ControlProgram) -> None:
    p.robot.set_tcp(p.doubles(0, 6))


def _set_gravity(p: ControlProgram) -> None:
    p.robot.gravity = p.doubles(0, 3)


def _set_watchdog(p: ControlProgram) -> None:
    (frequency_hz,) = p.doubles(0, 1)
    if frequency_hz <= 0.0:
        raise ProgramError(f"rtde_set_watchdog: minimum frequency must be positive, got {frequency_hz:g}")
    p.robot.watchdog = Watchdog(
        variable=f"input_int_register_{p.offset}", period_s=1.0 / frequency_hz, written_s=p.robot.time_s
    )


def _protective_stop(p: ControlProgram) -> None:
    p.robot.protective_stop("requested by the program")


def _nothing(p: ControlProgram) -> None:
    """zero_ftsensor: the simulated sensor reads zero already."""


def _step_time(p: ControlProgram) -> None:
    p.answer_vector([TICK_S])


def _positions_history(p: ControlProgram) -> None:
    history = p.robot.history
    steps = min(max(p.integer(1), 0), len(history) - 1)
    p.answer_vector(history[-1 - steps])


def _target_waypoint(p: ControlProgram) -> None:
    motion = p.robot.joints.motion
    if isinstance(motion, MoveLine):
        p.answer_vector(motion.goal)
        return
    positions = motion.goal if isinstance(motion, MoveJoints) else p.robot.joints.reference.positions
    p.answer_vector(p.tool.pose(positions))


def _inverse_default(p: ControlProgram) -> None:
    p.answer_vector(p.tool.solve(p.doubles(0, 6), near=p.robot.joints.positions))


def _inverse_near(p: ControlProgram) -> None:
    p.answer_vector(p.tool.solve(p.doubles(0, 6), near=p.doubles(6, 6)))


def _reachable(p: ControlProgram, *, near: list[float]) -> bool:
    try:
        p.tool.solve(p.doubles(0, 6), near=near)
    except UnreachablePoseError:
        return False
    return True


def _has_inverse_default(p: ControlProgram) -> None:
    p.answer(_reachable(p, near=p.robot.joints.positions))


def _has_inverse_near(p: ControlProgram) -> None:
    p.answer(_reachable(p, near=p.doubles(6, 6)))


def _joints_within_limits(p: ControlProgram) -> None:
    p.answer(all(abs(position) <= POSITION_LIMIT for position in p.doubles(0, 6)))


def _forward_default(p: ControlProgram) -> None:
    p.answer_vector(p.tool.pose(p.robot.joints.positions))


def _forward_of(p: ControlProgram) -> None:
    p.answer_vector(Tool(p.doubles(6, 6)).pose(p.doubles(0, 6)))


def _flange_pose(p: ControlProgram) -> None:
    p.answer_vector(Tool([0.0] * 6).pose(p.robot.joints.positions))


def _tcp_offset(p: ControlProgram) -> None:
    p.answer_vector(p.tool.offset)


def _pose_trans(p: ControlProgram) -> None:
    p.answer_vector(compose_poses(np.array(p.doubles(0, 6)), np.array(p.doubles(6, 6))).tolist())


def _is_steady(p: ControlProgram) -> None:
    p.answer(p.robot.steady)


STATE_COMMANDS = (
    Command(8, "ZERO_FT_SENSOR", "zeroFtSensor", _nothing, note="the sensor reads zero already"),
    Command(17, "SET_PAYLOAD", "setPayload", _set_payload),
    Command(26, "GET_STEPTIME", "getStepTime", _step_time, every_cycle=True),
    Command(
        27, "GET_ACTUAL_JOINT_POSITIONS_HISTORY", "getActualJointPositionsHistory", _positions_history, every_cycle=True
    ),
    Command(28, "GET_TARGET_WAYPOINT", "getTargetWaypoint", _target_waypoint),
    Command(29, "SET_TCP", "setTcp", _set_tcp),
    Command(30, "GET_INVERSE_KINEMATICS_ARGS", "getInverseKinematics", _inverse_near),
    Command(31, "PROTECTIVE_STOP", "triggerProtectiveStop", _protective_stop),
    Command(35, "SET_WATCHDOG", "setWatchdog", _set_watchdog),
    Command(36, "IS_POSE_WITHIN_SAFETY_LIMITS", "isPoseWithinSafetyLimits", _has_inverse_default),
    Command(37, "IS_JOINTS_WITHIN_SAFETY_LIMITS", "isJointsWithinSafetyLimits", _joints_within_limits),
    Command(39, "POSE_TRANS", "poseTrans", _pose_trans),
    Command(40, "GET_TCP_OFFSET", "getTCPOffset", _tcp_offset),
    Command(43, "GET_FORWARD_KINEMATICS_DEFAULT", "getForwardKinematics", _forward_default),
    Command(44, "GET_FORWARD_KINEMATICS_ARGS", "getForwardKinematics", _forward_of),
    Command(46, "GET_INVERSE_KINEMATICS_DEFAULT", "getInverseKinematics", _inverse_default),
    Command(47, "IS_STEADY", "isSteady", _is_steady),
    Command(58, "GET_ACTUAL_TOOL_FLANGE_POSE", "getActualToolFlangePose", _flange_pose, every_cycle=True),
    Command(59, "SET_GRAVITY", "setGravity", _set_gravity),
    Command(
        60,
        "GET_INVERSE_KINEMATICS_HAS_SOLUTION_DEFAULT",
        "getInverseKinematicsHasSolution",
        _has_inverse_default,
    ),
    Command(61, "GET_INVERSE_KINEMATICS_HAS_SOLUTION_ARGS", "getInverseKinematicsHasSolution", _has_inverse_near),
    Command(65, "SET_TARGET_PAYLOAD", "setTargetPayload", _set_target_payload),
)
