"""The robot behind the sockets: modes, safety, brakes, speed slider, watchdog and the program that drives the joints.

``Robot.step(dt)`` knows neither sockets nor wall time: the same model runs in the controller process and in lockstep.
"""

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from mola_core.contracts.errors import UnreachablePoseError
from mola_core.contracts.types import RobotMode, SafetyMode
from mola_twin.controller.cartesian import MotionError
from mola_twin.controller.joint_dynamics import JointDynamics
from mola_twin.controller.motions import Brake, Freedrive, Hold, stop_joints
from mola_twin.controller.poses import Tool
from mola_twin.controller.registers import ControlBox, Registers

log = logging.getLogger(__name__)

TICK_S = 0.002
POSITION_LIMIT = math.tau
"""rad, every joint of a UR5e: 360 degrees to either side."""
PROGRAM_STOP_DECELERATION = 10.0
"""rad/s^2 with which a halted program lets the arm run out. An assumption; UR publishes none."""
SLIDER_RATE = 4.0
"""1/s: how fast the speed scaling follows the slider."""
STEADY_AFTER_S = 0.1

_HOME = (0.0, -1.5708, 1.5708, -1.5708, -1.5708, 0.0)
_STOPPED_MODES = frozenset({SafetyMode.PROTECTIVE_STOP, SafetyMode.SAFEGUARD_STOP, SafetyMode.ROBOT_EMERGENCY_STOP})


class RuntimeState(IntEnum):
    """RTDE ``runtime_state``."""

    STOPPING = 0
    STOPPED = 1
    PLAYING = 2
    PAUSING = 3
    PAUSED = 4
    RESUMING = 5


class ProgramError(Exception):
    """The program cannot go on; PolyScope would stop it with a popup."""


class Program(Protocol):
    """What runs on the controller."""

    name: str

    def step(self, robot: "Robot") -> bool:
        """Run one 2 ms cycle; False ends the program. Raises :class:`ProgramError`."""
        ...


@dataclass(frozen=True, slots=True)
class RobotConfig:
    """What a twin may want to be different."""

    initial_positions: tuple[float, ...] = _HOME
    """rad."""
    powered: bool = True
    """Start with brakes released rather than switched off."""
    unlock_wait_s: float = 5.0
    """UR refuses to unlock a protective stop earlier."""
    contact_limit_n: float = 250.0
    """Contact force that counts as a collision. UR's default safety settings allow 150-250 N."""
    power_on_s: float = 1.0
    brake_release_s: float = 0.5
    program_start_s: float = 0.05
    """From the last byte of an upload to the first cycle of the program."""


@dataclass(slots=True)
class Watchdog:
    """``rtde_set_watchdog(variable, minimum frequency, "stop")``."""

    variable: str
    period_s: float
    written_s: float


class Robot:
    """State of one UR5e. Single-threaded; time is its own, advanced by :meth:`step`."""

    def __init__(self, config: RobotConfig | None = None) -> None:
        self.config = config or RobotConfig()
        self.time_s = 0.0
        self.joints = JointDynamics(self.config.initial_positions)
        self.registers = Registers()
        self.box = ControlBox()
        self.robot_mode = RobotMode.RUNNING if self.config.powered else RobotMode.POWER_OFF
        self.safety_mode = SafetyMode.NORMAL
        self.runtime_state = RuntimeState.STOPPED
        self.program: Program | None = None
        self.remote_control = True
        self.popup: str | None = None
        self.safety_popup: str | None = None
        self.speed_slider = 1.0
        self.speed_scaling = 1.0
        self.payload_kg = 0.0
        self.payload_cog = [0.0, 0.0, 0.0]
        self.payload_inertia = [0.0] * 6
        self.gravity = [0.0, 0.0, 9.82]
        self.tool = Tool([0.0] * 6)
        self.history: deque[tuple[float, ...]] = deque([self.config.initial_positions], maxlen=500)
        """The last joint positions, one a step, newest last."""
        self.contact_force = 0.0
        self.watchdog: Watchdog | None = None
        self._stopped_s = -math.inf
        self._touching = False
        self._program_starts_s = math.inf
        self._mode_plan: list[tuple[float, RobotMode]] = []
        self._still_since_s = 0.0
        self._hand = [0.0] * 6
        self._hand_until_s = -math.inf

    # -- time ----------------------------------------------------------------------------------------------------------

    def step(self, dt: float = TICK_S) -> None:
        """Advance everything by ``dt`` seconds."""
        self.time_s += dt
        self._check_safety()
        if self._mode_plan:
            self._follow_mode_plan()
        if self.program is not None:
            self._run_program()
        self._scale_speed(dt)
        if isinstance(self.joints.motion, Freedrive):
            pushed = self.time_s < self._hand_until_s
            self.joints.motion.torques = self._hand if pushed else [0.0] * 6
        self._move(dt)
        self.history.append(tuple(self.joints.positions))
        if any(self.joints.reference.velocities):
            self._still_since_s = self.time_s

    def _move(self, dt: float) -> None:
        try:
            self.joints.step(dt, scaling=self.speed_scaling)
        except MotionError as error:
            self.protective_stop(str(error))

    def _check_safety(self) -> None:
        touching = self.contact_force > self.config.contact_limit_n
        if touching and not self._touching:
            self.protective_stop(f"collision: contact force {self.contact_force:.0f} N")
        self._touching = touching
        reference = self.joints.reference
        for joint, position in enumerate(reference.positions):
            # on the way back it may pass
            if abs(position) > POSITION_LIMIT and position * reference.velocities[joint] > 0.0:
                self.protective_stop(f"joint {joint} at {position:.2f} rad is beyond its limit of {POSITION_LIMIT:.2f}")
        emergency = self.safety_mode is SafetyMode.ROBOT_EMERGENCY_STOP
        if emergency and self.robot_mode is not RobotMode.POWER_OFF and self.joints.speed < 1e-3:
            self.robot_mode = RobotMode.POWER_OFF
            self.stop_program("the robot was switched off by the emergency stop")

    def _follow_mode_plan(self) -> None:
        due_s, mode = self._mode_plan[0]
        if self.time_s >= due_s:
            self._mode_plan.pop(0)
            self.robot_mode = mode
            log.info("robot mode %s", mode.name)

    def _run_program(self) -> None:
        if self.runtime_state is RuntimeState.STOPPED and self.time_s >= self._program_starts_s:
            self.runtime_state = RuntimeState.PLAYING
            log.info("program %s is running", self.program.name if self.program else "")
        if self.watchdog is not None and self.time_s - self.watchdog.written_s > self.watchdog.period_s:
            self.stop_program(f"watchdog: {self.watchdog.variable} not written for {self.watchdog.period_s:.3f} s")
        if self.program is None or self.runtime_state is not RuntimeState.PLAYING:
            return
        try:
            running = self.program.step(self)
        except (ProgramError, UnreachablePoseError) as error:
            self.popup = str(error)
            log.warning("popup: %s", error)
            self.stop_program(f"runtime error: {error}")
        else:
            if not running:
                self.stop_program("it ended")

    def _scale_speed(self, dt: float) -> None:
        if self.speed_scaling != self.speed_slider:
            change = self.speed_slider - self.speed_scaling
            limit = SLIDER_RATE * dt
            self.speed_scaling += min(max(change, -limit), limit)

    # -- program -------------------------------------------------------------------------------------------------------

    @property
    def program_running(self) -> bool:
        """True while the program's cycles run; a paused one does not."""
        return self.runtime_state is RuntimeState.PLAYING

    def start_program(self, program: Program) -> bool:
        """Replace whatever runs by ``program``; it starts a moment later. False if the robot cannot run one now."""
        if self.robot_mode is not RobotMode.RUNNING or self.stopped_by_safety:
            log.warning(
                "program %s not started: robot mode %s, safety mode %s",
                program.name,
                self.robot_mode.name,
                self.safety_mode.name,
            )
            return False
        if self.program is not None:
            self.stop_program("a new program arrived")
        self.program = program
        self._program_starts_s = self.time_s + self.config.program_start_s
        return True

    def stop_program(self, reason: str) -> None:
        """Halt the program, let the arm come to rest, forget the watchdog. Harmless without a program."""
        if self.program is not None:
            log.info("program %s stopped: %s", self.program.name, reason)
        self.program = None
        self.watchdog = None
        self.runtime_state = RuntimeState.STOPPED
        self._program_starts_s = math.inf
        self.joints.start(Brake() if self.joints.braking else stop_joints(acceleration=PROGRAM_STOP_DECELERATION))

    def pause_program(self) -> bool:
        """Hold the program where it is; it goes on with :meth:`play`. False without a running program."""
        if self.runtime_state is not RuntimeState.PLAYING:
            return False
        self.runtime_state = RuntimeState.PAUSED
        self.joints.brake()
        return True

    def play(self) -> bool:
        """Continue a paused program **and the motion that was interrupted**. False if there is none or a stop is on."""
        ready = self.robot_mode is RobotMode.RUNNING and not self.stopped_by_safety
        if not ready or self.runtime_state is not RuntimeState.PAUSED:
            return False
        self.runtime_state = RuntimeState.PLAYING
        self.joints.resume()
        if self.watchdog is not None:
            self.watchdog.written_s = self.time_s
        return True

    def inputs_written(self, variables: frozenset[str]) -> None:
        """A client has written these RTDE inputs; feeds the watchdog."""
        if self.watchdog is not None and self.watchdog.variable in variables:
            self.watchdog.written_s = self.time_s

    # -- safety --------------------------------------------------------------------------------------------------------

    @property
    def stopped_by_safety(self) -> bool:
        return self.safety_mode in _STOPPED_MODES

    @property
    def steady(self) -> bool:
        """True when the arm has stood still for a moment."""
        return self.time_s - self._still_since_s >= STEADY_AFTER_S and self.joints.speed < 1e-3

    def protective_stop(self, reason: str) -> None:
        """Brake and pause the program; needs :meth:`unlock_protective_stop`."""
        if self.robot_mode is RobotMode.RUNNING and self._enter_stop(SafetyMode.PROTECTIVE_STOP, reason):
            self._stopped_s = self.time_s

    def safeguard_stop(self, *, on: bool) -> None:
        """Brake and pause while a safeguard input is open; closing it does not resume the program."""
        if on:
            self._enter_stop(SafetyMode.SAFEGUARD_STOP, "safeguard input open")
        elif self.safety_mode is SafetyMode.SAFEGUARD_STOP:
            self._leave_stop()

    def emergency_stop(self) -> None:
        """Brake, then switch off; needs :meth:`release_emergency_stop`, power on and brake release."""
        self._enter_stop(SafetyMode.ROBOT_EMERGENCY_STOP, "emergency stop pressed")
        self._mode_plan.clear()

    def release_emergency_stop(self) -> None:
        """Turn the button back; the robot stays switched off."""
        if self.safety_mode is SafetyMode.ROBOT_EMERGENCY_STOP:
            if self.robot_mode is not RobotMode.POWER_OFF:
                self.power_off()
            self._leave_stop()

    def unlock_protective_stop(self) -> str:
        """The dashboard's answer; the stop is over only if it reads ``Protective stop releasing``."""
        if self.safety_mode is not SafetyMode.PROTECTIVE_STOP:
            return "Cannot unlock protective stop: the robot is not protective stopped"
        if self.time_s - self._stopped_s < self.config.unlock_wait_s:
            return (
                f"Cannot unlock protective stop until {self.config.unlock_wait_s:g}s after occurrence. "
                "Always inspect cause of protective stop before unlocking"
            )
        self._leave_stop()
        return "Protective stop releasing"

    def _enter_stop(self, mode: SafetyMode, reason: str) -> bool:
        if self.safety_mode is mode or self.safety_mode is SafetyMode.ROBOT_EMERGENCY_STOP:
            return False
        log.warning("%s: %s", mode.name, reason)
        self.safety_mode = mode
        self.safety_popup = reason
        self.joints.brake()
        if self.runtime_state is RuntimeState.PLAYING:
            self.runtime_state = RuntimeState.PAUSED
        elif self.program is not None:
            self.stop_program("a safety stop came before its first cycle")
        return True

    def _leave_stop(self) -> None:
        log.info("%s released", self.safety_mode.name)
        self.safety_mode = SafetyMode.NORMAL
        if self.program is None:
            self.joints.start(Hold())

    # -- power ---------------------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """Brake and switch the arm off."""
        self.joints.brake()
        self.stop_program("the robot was switched off")
        self._mode_plan.clear()
        self.robot_mode = RobotMode.POWER_OFF

    def power_on(self) -> None:
        """Switch the arm on; brakes stay engaged. Ignored while it is on or an emergency stop is pressed."""
        if self.robot_mode is RobotMode.POWER_OFF and self.safety_mode is not SafetyMode.ROBOT_EMERGENCY_STOP:
            self._mode_plan = [
                (self.time_s, RobotMode.POWER_ON),
                (self.time_s + self.config.power_on_s, RobotMode.IDLE),
            ]

    def release_brakes(self) -> None:
        """Make the arm ready to move, switching it on first if need be."""
        self.power_on()
        if self.robot_mode in {RobotMode.POWER_OFF, RobotMode.POWER_ON, RobotMode.IDLE} and (
            self._mode_plan or self.robot_mode is RobotMode.IDLE
        ):
            idle_s = self._mode_plan[-1][0] if self._mode_plan else self.time_s
            self._mode_plan.append((idle_s + self.config.brake_release_s, RobotMode.RUNNING))
            self.joints.start(Hold())

    # -- the operator --------------------------------------------------------------------------------------------------

    def set_tcp(self, offset: Sequence[float]) -> None:
        """Pose of the TCP in the flange frame."""
        self.tool = Tool(offset)

    def set_speed_slider(self, fraction: float) -> None:
        """0..1. Raised from 0 in mid-program, the real controller may protective-stop; this one does."""
        if self.speed_slider == 0.0 and fraction > 0.0 and self.program_running:
            self.protective_stop("speed slider raised from 0 while a program runs")
        self.speed_slider = min(max(fraction, 0.0), 1.0)

    def push(self, torques: Sequence[float], *, duration_s: float) -> None:
        """A hand pushes the joints (N m) for a while; felt in freedrive only."""
        self._hand = list(torques)
        self._hand_until_s = self.time_s + duration_s
