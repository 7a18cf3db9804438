"""Notices when the arm does not do what it is told, or may not."""

from mola_core.contracts.types import NUM_JOINTS, RobotMode, SafetyMode
from mola_core.control.motion import JointMotion
from mola_core.control.servo_types import Measured

DIVERGENCE_RAD = 0.12
"""How far a joint may be from its command beyond what the arm's delay explains."""
RESEAT_RAD = 0.01
_DELAY_ALLOWANCE = 2.0
"""The delay is measured on a good day; allow twice."""
_SAFE_MODES = (SafetyMode.NORMAL, SafetyMode.REDUCED)


class ArmWatch:
    """Compares the measured with the commanded state, allowing for the arm's delay."""

    reseat_rad = RESEAT_RAD
    """A gap at rest beyond which resuming starts from the measured position."""

    def __init__(self, *, delay_s: float, period_s: float) -> None:
        self._delay_s = _DELAY_ALLOWANCE * delay_s + period_s
        # The fastest recent speed of each joint fades over about the allowed delay.
        self._fading = 1.0 - period_s / (self._delay_s + 0.05)
        self._recent_speeds = [0.0] * NUM_JOINTS

    def reset(self) -> None:
        """Forget recent speeds."""
        self._recent_speeds = [0.0] * NUM_JOINTS

    def anomaly(self, measured: Measured, motion: JointMotion) -> str:
        """What is wrong with the arm; empty if nothing is."""
        return self.mode_anomaly(measured) or self._divergence(measured, motion)

    def mode_anomaly(self, measured: Measured) -> str:
        """Why the controller does not let the arm move; empty if it does."""
        if measured.safety_mode not in _SAFE_MODES:
            return f"the arm is in {SafetyMode(measured.safety_mode).name}"
        if measured.robot_mode != RobotMode.RUNNING:
            return f"the arm's robot mode is {RobotMode(measured.robot_mode).name}"
        return ""

    def gap(self, measured: Measured, motion: JointMotion) -> float:
        """Largest distance of a joint from its command, rad."""
        actual: list[float] = measured.joint_positions.tolist()
        return max(abs(a - b) for a, b in zip(actual, motion.positions, strict=True))

    def _divergence(self, measured: Measured, motion: JointMotion) -> str:
        recent, fading, delay_s = self._recent_speeds, self._fading, self._delay_s
        actual: list[float] = measured.joint_positions.tolist()
        for joint, velocity in enumerate(motion.velocities):
            speed = recent[joint] = max(abs(velocity), fading * recent[joint])
            gap = abs(actual[joint] - motion.positions[joint])
            if not gap <= DIVERGENCE_RAD + speed * delay_s:
                return f"joint {joint} is {gap:.3f} rad from its command; is something in its way?"
        return ""
