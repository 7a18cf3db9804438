"""Every RTDE output of the twin: its name, its type, and where its value comes from.

What is not modelled is constant and marked so; a real controller serves the names, and clients ask for all of them.
"""

from collections.abc import Callable, Iterable

from mola_core.contracts.types import RobotMode, SafetyMode
from mola_core.control.kinematics import arm_frames
from mola_twin.controller.registers import NUM_REGISTERS
from mola_twin.controller.robot import Robot

_ZEROS = (0.0,) * 6
_JOINT_MODE_RUNNING, _JOINT_MODE_IDLE, _JOINT_MODE_POWER_OFF = (253,) * 6, (255,) * 6, (239,) * 6


class View:
    """The robot as one tick's packages show it; poses are computed at most once a tick, and only if asked for."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self._actual: tuple[float, list[float], list[float]] = (-1.0, [], [])
        self._target: tuple[float, list[float], list[float]] = (-1.0, [], [])

    def actual_pose(self) -> list[float]:
        """``base_from_tcp`` as measured."""
        return self._compute_actual()[1]

    def actual_speed(self) -> list[float]:
        """TCP velocity as measured."""
        return self._compute_actual()[2]

    def target_pose(self) -> list[float]:
        """``base_from_tcp`` as asked for."""
        return self._compute_target()[1]

    def target_speed(self) -> list[float]:
        """TCP velocity as asked for."""
        return self._compute_target()[2]

    def _compute_actual(self) -> tuple[float, list[float], list[float]]:
        robot = self.robot
        if self._actual[0] != robot.time_s:
            frames = arm_frames(robot.joints.positions)
            speed = robot.tool.speed(frames, robot.joints.velocities)
            self._actual = (robot.time_s, robot.tool.pose_of(frames), speed)
        return self._actual

    def _compute_target(self) -> tuple[float, list[float], list[float]]:
        robot = self.robot
        if self._target[0] != robot.time_s:
            reference = robot.joints.reference
            frames = arm_frames(reference.positions)
            speed = robot.tool.speed(frames, reference.velocities)
            self._target = (robot.time_s, robot.tool.pose_of(frames), speed)
        return self._target


Read = Callable[[View], Iterable[float]]


def robot_status_bits(robot: Robot) -> int:
    """Bit 0 power on, bit 1 program running."""
    powered = robot.robot_mode >= RobotMode.POWER_ON
    return int(powered) | (int(robot.program_running) << 1)


def safety_status_bits(robot: Robot) -> int:
    """Bits as in the RTDE guide: 0 normal, 2 protective, 4 safeguard, 6 robot emergency, 7 emergency, 10 any safety stop."""
    mode = robot.safety_mode
    return {
        SafetyMode.NORMAL: 1 << 0,
        SafetyMode.PROTECTIVE_STOP: 1 << 2 | 1 << 10,
        SafetyMode.SAFEGUARD_STOP: 1 << 4 | 1 << 10,
        SafetyMode.ROBOT_EMERGENCY_STOP: 1 << 6 | 1 << 7 | 1 << 10,
    }[mode]


def _joint_mode(view: View) -> tuple[int, ...]:
    if view.robot.robot_mode is RobotMode.RUNNING:
        return _JOINT_MODE_RUNNING
    return _JOINT_MODE_POWER_OFF if view.robot.robot_mode is RobotMode.POWER_OFF else _JOINT_MODE_IDLE


def _constant(*values: float) -> Read:
    return lambda _: values


def _output_int(index: int) -> Read:
    return lambda view: (view.robot.registers.output_int[index],)


def _output_double(index: int) -> Read:
    return lambda view: (view.robot.registers.output_double[index],)


_MODELLED: dict[str, tuple[str, Read]] = {
    "timestamp": ("DOUBLE", lambda view: (view.robot.time_s,)),
    "target_q": ("VECTOR6D", lambda view: view.robot.joints.reference.positions),
    "target_qd": ("VECTOR6D", lambda view: view.robot.joints.reference.velocities),
    "target_qdd": ("VECTOR6D", lambda view: view.robot.joints.reference.accelerations),
    "actual_q": ("VECTOR6D", lambda view: view.robot.joints.positions),
    "actual_qd": ("VECTOR6D", lambda view: view.robot.joints.velocities),
    "actual_TCP_pose": ("VECTOR6D", View.actual_pose),
    "actual_TCP_speed": ("VECTOR6D", View.actual_speed),
    "target_TCP_pose": ("VECTOR6D", View.target_pose),
    "target_TCP_speed": ("VECTOR6D", View.target_speed),
    "tcp_offset": ("VECTOR6D", lambda view: view.robot.tool.offset),
    "robot_mode": ("INT32", lambda view: (view.robot.robot_mode,)),
    "joint_mode": ("VECTOR6INT32", _joint_mode),
    "safety_mode": ("INT32", lambda view: (view.robot.safety_mode,)),
    "safety_status": ("INT32", lambda view: (view.robot.safety_mode,)),
    "runtime_state": ("UINT32", lambda view: (view.robot.runtime_state,)),
    "robot_status_bits": ("UINT32", lambda view: (robot_status_bits(view.robot),)),
    "safety_status_bits": ("UINT32", lambda view: (safety_status_bits(view.robot),)),
    "speed_scaling": ("DOUBLE", lambda view: (view.robot.speed_scaling,)),
    "target_speed_fraction": ("DOUBLE", lambda view: (view.robot.speed_slider,)),
    "actual_digital_input_bits": ("UINT64", lambda view: (view.robot.box.digital_inputs,)),
    "actual_digital_output_bits": ("UINT64", lambda view: (view.robot.box.digital_outputs,)),
    "standard_analog_output0": ("DOUBLE", lambda view: (view.robot.box.analog_outputs[0],)),
    "standard_analog_output1": ("DOUBLE", lambda view: (view.robot.box.analog_outputs[1],)),
    "payload": ("DOUBLE", lambda view: (view.robot.payload_kg,)),
    "payload_cog": ("VECTOR3D", lambda view: view.robot.payload_cog),
    "payload_inertia": ("VECTOR6D", lambda view: view.robot.payload_inertia),
}

NOT_MODELLED: dict[str, tuple[str, Read]] = {
    "target_current": ("VECTOR6D", _constant(*_ZEROS)),
    "target_moment": ("VECTOR6D", _constant(*_ZEROS)),
    "actual_current": ("VECTOR6D", _constant(*_ZEROS)),
    "joint_control_output": ("VECTOR6D", _constant(*_ZEROS)),
    "actual_TCP_force": ("VECTOR6D", _constant(*_ZEROS)),
    "ft_raw_wrench": ("VECTOR6D", _constant(*_ZEROS)),
    "joint_temperatures": ("VECTOR6D", _constant(*(30.0,) * 6)),
    "actual_joint_voltage": ("VECTOR6D", _constant(*(48.0,) * 6)),
    "actual_execution_time": ("DOUBLE", _constant(0.0)),
    "actual_tool_accelerometer": ("VECTOR3D", _constant(0.0, 0.0, 0.0)),
    "actual_momentum": ("DOUBLE", _constant(0.0)),
    "actual_main_voltage": ("DOUBLE", _constant(48.0)),
    "actual_robot_voltage": ("DOUBLE", _constant(48.0)),
    "actual_robot_current": ("DOUBLE", _constant(0.0)),
    "standard_analog_input0": ("DOUBLE", _constant(0.0)),
    "standard_analog_input1": ("DOUBLE", _constant(0.0)),
    "output_bit_registers0_to_31": ("UINT32", _constant(0)),
    "output_bit_registers32_to_63": ("UINT32", _constant(0)),
}
"""Served as constants; a client must not build on them."""

OUTPUTS: dict[str, tuple[str, Read]] = {
    **_MODELLED,
    **NOT_MODELLED,
    **{f"output_int_register_{index}": ("INT32", _output_int(index)) for index in range(NUM_REGISTERS)},
    **{f"output_double_register_{index}": ("DOUBLE", _output_double(index)) for index in range(NUM_REGISTERS)},
}
"""Type and reader of every output by its RTDE name."""
