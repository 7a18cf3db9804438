"""An arm in the same process that behaves over time, on an injected clock: for unit tests and lockstep.

It lags, has a top speed, stops when its watchdog starves, and refuses what a UR refuses. It has no dynamics, no collisions
and no network; the twin has.
"""

from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import ArmError
from mola_core.contracts.geometry import Pose
from mola_core.contracts.site import ArmSpec
from mola_core.contracts.types import NUM_JOINTS, Joints, RobotMode, SafetyMode
from mola_drivers.arm.digital_outputs import NUM_OUTPUTS
from mola_drivers.arm.protocol import ALIVE_TIMEOUT_NS, ArmLinkError, ArmReading, checked_joints, refusal

STEP_NS = 2 * NS_PER_MS
STEP_S = STEP_NS / NS_PER_S
TOP_SPEED = np.pi
"""rad/s, of every joint of a UR5e."""
TOP_ACCELERATION = 40.0
"""rad/s^2."""
PROGRAM_STOP_DECELERATION = 10.0
"""rad/s^2."""
UNLOCK_WAIT_NS = 5 * NS_PER_S


class _Motion(Enum):
    HOLD = "hold"
    SERVO = "servo"
    BRAKE = "brake"
    FREEDRIVE = "freedrive"


class SimArm:
    """Behind :class:`mola_drivers.arm.protocol.Arm`; its faults are methods and attributes for the test to use."""

    def __init__(
        self,
        *,
        spec: ArmSpec,
        clock: Clock,
        forward_kinematics: Callable[[Joints], Pose],
        joint_positions: Joints | None = None,
    ) -> None:
        """``forward_kinematics``: joint positions to ``base_from_tcp``. Starts at ``joint_positions``, or at home."""
        self._spec = spec
        self._clock = clock
        self._forward_kinematics = forward_kinematics
        self._positions = np.array(spec.home if joint_positions is None else joint_positions, dtype=np.float64)
        self._velocities = np.zeros(NUM_JOINTS)
        self._target = self._positions.copy()
        self._deceleration = np.full(NUM_JOINTS, PROGRAM_STOP_DECELERATION)
        self._motion = _Motion.HOLD
        self._start_ns = self._stepped_ns = clock.monotonic_ns()
        self._written_ns = self._stepped_ns
        self._silent_since_ns: int | None = None
        self._stopped_ns = 0
        self._reading: ArmReading | None = None
        self._connected = False
        self._program_running = False
        self.reachable = True
        self.remote_control = True
        self.robot_mode = RobotMode.RUNNING
        self.safety_mode = SafetyMode.NORMAL
        self.speed_scaling = 1.0
        self.digital_outputs = [False] * NUM_OUTPUTS
        self.targets: list[Joints] = []
        """Every target that was accepted, oldest first."""

    # -- the protocol ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if not self.reachable:
            raise ArmError(f"no answer from {self._spec.host}; is the controller on, and on this network?")
        if not self.remote_control:
            raise ArmError("the controller is in local control; switch it to Remote Control at the pendant's top right")
        reason = refusal(safety_mode=self.safety_mode, robot_mode=self.robot_mode, program_running=True)
        if reason is not None:
            raise ArmError(reason)
        self._advance()
        self._connected = True
        self._start_program()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._advance()
        self._stop_program()
        self._connected = False

    def read(self) -> ArmReading:
        self._check_connected()
        self._advance()
        return self._newest_reading()

    def servo(self, joint_positions: Joints) -> None:
        target = np.array(checked_joints(joint_positions))
        self._check_accepts()
        if self._silent_since_ns is not None:
            return  # sent into the void, as nobody can know yet
        self._target = target
        self._motion = _Motion.SERVO
        self.targets.append(target.copy())

    def keep_alive(self) -> None:
        self._check_accepts()

    def stop(self, *, deceleration: float) -> None:
        if not deceleration > 0:
            raise ValueError(f"deceleration must be positive, got {deceleration} m/s^2")
        self._check_accepts()
        # joint speeds shrink together, so that the TCP keeps its line
        stop_s = max(self._tcp_speed() / deceleration, np.abs(self._velocities).max() / TOP_ACCELERATION, STEP_S)
        self._brake(np.maximum(np.abs(self._velocities) / stop_s, 1e-9))
        while np.any(self._velocities) and self._program_running:
            self._clock.sleep_until(self._clock.monotonic_ns() + STEP_NS)
            self._written_ns = self._clock.monotonic_ns()
            self._advance()
        self._check_accepts()

    @property
    def is_alive(self) -> bool:
        if not self._connected:
            return False
        if self._silent_since_ns is None:
            return True
        return self._clock.monotonic_ns() - self._silent_since_ns < ALIVE_TIMEOUT_NS

    def unlock_protective_stop(self) -> None:
        self._advance()
        if self.safety_mode is not SafetyMode.PROTECTIVE_STOP:
            raise ArmError(f"the arm is in safety mode {self.safety_mode.name}: there is no protective stop to unlock")
        self._stop_program()
        self._clock.sleep_until(max(self._clock.monotonic_ns(), self._stopped_ns) + UNLOCK_WAIT_NS)
        self._advance()
        self.safety_mode = SafetyMode.NORMAL
        if self._connected:
            self._start_program()

    def start_freedrive(self) -> None:
        self._check_accepts()
        self._motion = _Motion.FREEDRIVE

    def stop_freedrive(self) -> None:
        self._check_accepts()
        self._motion = _Motion.HOLD

    def set_digital_output(self, *, output: int, high: bool) -> None:
        if not 0 <= output < NUM_OUTPUTS:
            raise ValueError(f"digital output must be 0..{NUM_OUTPUTS - 1}, got {output}")
        self._check_connected()
        self.digital_outputs[output] = high

    # -- what a test does to it --------------------------------------------------------------------------------------

    def protective_stop(self) -> None:
        """The arm hits something."""
        self._safety_stop(SafetyMode.PROTECTIVE_STOP)

    def emergency_stop(self) -> None:
        """Somebody presses the button."""
        self._safety_stop(SafetyMode.ROBOT_EMERGENCY_STOP)

    def silence(self) -> None:
        """From now on nothing arrives in either direction, and nothing says so."""
        self._advance()
        self._newest_reading()
        self._silent_since_ns = self._stepped_ns

    def push(self, joint_positions: Joints) -> None:
        """Somebody moves the arm by hand; only in freedrive does it follow."""
        self._advance()
        if self._motion is _Motion.FREEDRIVE:
            self._positions = np.array(joint_positions, dtype=np.float64)

    # -- over time ---------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        now_ns = self._clock.monotonic_ns()
        while self._stepped_ns + STEP_NS <= now_ns:
            self._stepped_ns += STEP_NS
            self._step()

    def _step(self) -> None:
        watchdog_ns = NS_PER_S / self._spec.servo.watchdog_hz
        if self._program_running and self._stepped_ns - self._written_ns > watchdog_ns:
            self._stop_program()
        if self._motion is _Motion.SERVO:
            wanted = np.clip((self._target - self._positions) / self._spec.servo.lookahead_s, -TOP_SPEED, TOP_SPEED)
            change = wanted * self.speed_scaling - self._velocities
        elif self._motion is _Motion.BRAKE:
            change = np.clip(-self._velocities, -self._deceleration * STEP_S, self._deceleration * STEP_S)
        else:
            change = -self._velocities
        self._velocities = self._velocities + np.clip(change, -TOP_ACCELERATION * STEP_S, TOP_ACCELERATION * STEP_S)
        self._positions = self._positions + self._velocities * STEP_S

    def _newest_reading(self) -> ArmReading:
        time_s = (self._stepped_ns - self._start_ns) / NS_PER_S
        reading = self._reading
        if reading is None or (self._silent_since_ns is None and reading.controller_time_s != time_s):
            reading = self._reading = self._take_reading(time_s)
        return reading

    def _take_reading(self, time_s: float) -> ArmReading:
        return ArmReading(
            controller_time_s=time_s,
            received_ns=self._clock.monotonic_ns(),
            stamp_ns=self._clock.now_ns(),
            joint_positions=self._positions.copy(),
            joint_velocities=self._velocities.copy(),
            base_from_tcp=self._forward_kinematics(self._positions),
            robot_mode=self.robot_mode,
            safety_mode=self.safety_mode,
            speed_scaling=self.speed_scaling,
            program_running=self._program_running,
        )

    def _tcp_speed(self) -> float:
        ahead = self._forward_kinematics(self._positions + self._velocities * STEP_S)
        here = self._forward_kinematics(self._positions)
        return float(np.linalg.norm(ahead[:3] - here[:3])) / STEP_S

    def _brake(self, deceleration: Joints) -> None:
        self._motion = _Motion.BRAKE
        self._deceleration = deceleration

    def _start_program(self) -> None:
        self._program_running = True
        self._motion = _Motion.HOLD
        self._written_ns = self._stepped_ns

    def _stop_program(self) -> None:
        self._program_running = False
        self._brake(np.full(NUM_JOINTS, PROGRAM_STOP_DECELERATION))

    def _safety_stop(self, mode: SafetyMode) -> None:
        self._advance()
        self.safety_mode = mode
        self._stopped_ns = self._stepped_ns
        self._stop_program()

    def _check_connected(self) -> None:
        if not self._connected:
            raise ArmError(f"the arm at {self._spec.host} is not connected; use it inside `with arm:`")

    def _check_accepts(self) -> None:
        """Refuse as a controller would, and feed the watchdog."""
        self._check_connected()
        self._advance()
        if not self.is_alive:
            raise ArmLinkError(f"the link to {self._spec.host} is dead; check the network")
        reason = refusal(
            safety_mode=self.safety_mode, robot_mode=self.robot_mode, program_running=self._program_running
        )
        if reason is not None:
            raise ArmError(reason)
        if self._silent_since_ns is None:
            self._written_ns = self._stepped_ns
