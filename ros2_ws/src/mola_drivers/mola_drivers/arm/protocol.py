"""What the servo loop needs of an arm.

An arm belongs to the thread that entered it; nothing here is thread-safe. Nothing reconnects by itself: a lost link
is an :class:`ArmLinkError`, after which the process that owns the arm must end (``os._exit``) and a supervisor starts
a fresh one.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ArmError
from mola_core.contracts.geometry import Pose
from mola_core.contracts.types import NUM_JOINTS, Joints, RobotMode, SafetyMode

ALIVE_TIMEOUT_NS = 100 * NS_PER_MS
"""Without progress of the controller's own clock for so long, the link counts as dead."""

SAFE_MODES = (SafetyMode.NORMAL, SafetyMode.REDUCED)
"""Safety modes in which the controller accepts motion."""


class ArmLinkError(ArmError):
    """The link to the controller is dead; the process that owns it must end, never reconnect in place."""


@dataclass(frozen=True, slots=True)
class ArmReading:
    """What the controller last said, all of it from one data package."""

    controller_time_s: float
    """The controller's own clock. Equal times mean the same reading."""
    received_ns: int
    """``Clock.monotonic_ns()`` when this package was first seen."""
    stamp_ns: int
    """``Clock.now_ns()`` when this package was first seen."""
    joint_positions: Joints
    """Measured, rad."""
    joint_velocities: Joints
    """Measured, rad/s."""
    base_from_tcp: Pose
    """Measured, with the TCP offset of the site."""
    robot_mode: RobotMode
    safety_mode: SafetyMode
    speed_scaling: float
    """0..1, product of the speed slider and the controller's own scaling."""
    program_running: bool
    """The program that executes :meth:`Arm.servo` runs on the controller."""


class Arm(Protocol):
    """A six-joint arm that follows a stream of joint targets."""

    def __enter__(self) -> Self:
        """Connect, check that the arm may move, start the servo program, arm its watchdog. Does not move.

        Takes bounded time. A fresh reading exists afterwards.

        Raises:
            ArmError: not reachable, local mode, not running, or safety stop; names the value and the cure.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the program and disconnect (about 1.5 s). On a dead link it leaves everything to the process's end."""
        ...

    def read(self) -> ArmReading:
        """The newest reading; never blocks, never invents. The same reading again if the controller said nothing new.

        Raises:
            ArmError: not connected.
        """
        ...

    def servo(self, joint_positions: Joints) -> None:
        """Follow to ``joint_positions`` (rad). Returns at once; silence longer than the watchdog stops the program.

        Raises:
            ValueError: not six finite numbers. Nothing was sent.
            ArmLinkError: the link is dead; whether the target arrived is unknown.
            ArmError: the controller refuses: safety stop, program stopped; names which.
        """
        ...

    def keep_alive(self) -> None:
        """Feed the watchdog without a target, at the same rate as :meth:`servo`; the arm holds (or stays in freedrive).

        Raises:
            ArmError: as :meth:`servo`.
        """
        ...

    def stop(self, *, deceleration: float) -> None:
        """Leave servo mode, decelerating the TCP by ``deceleration`` (m/s^2, > 0) on a line; blocks until at rest.

        Feed the watchdog again (:meth:`keep_alive` or :meth:`servo`) within its period afterwards.

        Raises:
            ArmError: as :meth:`servo`.
        """
        ...

    @property
    def is_alive(self) -> bool:
        """The controller's clock has progressed within :data:`ALIVE_TIMEOUT_NS`. Nothing else counts as alive."""
        ...

    def unlock_protective_stop(self) -> None:
        """Close the pop-up, stop the paused program, wait out UR's five seconds, unlock, start the program afresh.

        Only ever on the operator's request. Works before connecting too (then without the last step).

        Raises:
            ArmError: there is no protective stop to unlock, or the controller refuses.
        """
        ...

    def start_freedrive(self) -> None:
        """Let the arm be moved by hand; feed :meth:`keep_alive` meanwhile.

        Raises:
            ArmError: as :meth:`servo`.
        """
        ...

    def stop_freedrive(self) -> None:
        """Hold again.

        Raises:
            ArmError: as :meth:`servo`.
        """
        ...

    def set_digital_output(self, *, output: int, high: bool) -> None:
        """Set standard digital output 0..7. The first call may take 0.2 s; not for the servo loop.

        Raises:
            ValueError: no such output.
            ArmError: not connected or refused.
        """
        ...


def checked_joints(joint_positions: Joints) -> list[float]:
    """``joint_positions`` as a list, after the check that the library does not do.

    Raises:
        ValueError: not exactly six finite numbers.
    """
    positions = np.asarray(joint_positions, dtype=np.float64)
    if positions.shape != (NUM_JOINTS,) or not np.isfinite(positions).all():
        raise ValueError(f"a servo target must be {NUM_JOINTS} finite joint positions in rad, got {joint_positions!r}")
    values: list[float] = positions.tolist()
    return values


def refusal(*, safety_mode: SafetyMode, robot_mode: RobotMode, program_running: bool) -> str | None:
    """Why the controller would refuse motion, with the cure; None if it would not."""
    if safety_mode not in SAFE_MODES:
        return f"the arm is in {safety_mode.name}; {SAFETY_CURES[safety_mode]}"
    if robot_mode is not RobotMode.RUNNING:
        return f"the arm's robot mode is {robot_mode.name}; power it on and release the brakes on the pendant"
    if not program_running:
        return "the servo program on the controller has stopped (watchdog or pendant); connect afresh and resume"
    return None


SAFETY_CURES = {
    SafetyMode.PROTECTIVE_STOP: "clear what it hit, then resume, which unlocks it",
    SafetyMode.RECOVERY: "move it back inside its limits on the pendant",
    SafetyMode.SAFEGUARD_STOP: "close the safeguard, then resume",
    SafetyMode.SYSTEM_EMERGENCY_STOP: "release the emergency stop and power the arm on again on the pendant",
    SafetyMode.ROBOT_EMERGENCY_STOP: "release the emergency stop and power the arm on again on the pendant",
    SafetyMode.VIOLATION: "restart the safety system on the pendant",
    SafetyMode.FAULT: "read the pendant's log and restart the controller",
}
"""What a person does about each safety mode that forbids motion."""
