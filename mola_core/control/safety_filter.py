"""The last gate before the arm. It trusts nobody, the limiter included.

Invariant: from every command let through there is a braking motion within the velocity, acceleration and jerk limits
whose end and middle are inside position limits and workspace and free of collision. A command without one is replaced
by the next step of the braking motion already verified.
"""

from dataclasses import dataclass
from math import isfinite

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.site import Site
from mola_core.contracts.types import JOINT_NAMES
from mola_core.control.brake import BrakeMotion, plan_brake
from mola_core.control.clearance import ClearanceProof
from mola_core.control.collision import CollisionModel
from mola_core.control.motion import MARGIN, JointMotion, MotionLimits

_ROUNDING = 1e-6
"""Relative allowance for rounding in the checks of derivatives."""
_POSITION_ROUNDING = 1e-12
"""Absolute allowance in positions, rad; a jerk of a hundredth of a rad/s^3 within one tick at 500 Hz is ten times as much."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be sent, and why it is not what was asked for."""

    motion: JointMotion
    refusal: str
    """Empty: the command passed. Otherwise ``motion`` is the next step of the verified braking motion."""


class SafetyFilter:
    """Holds the commanded state and its verified braking motion."""

    def __init__(self, site: Site, *, period_ns: int) -> None:
        self._limits = MotionLimits.of(site.arm)
        self._brake_limits = MotionLimits.of(site.arm, fraction=MARGIN)
        self._period_s = period_ns / NS_PER_S
        self._proof = ClearanceProof(CollisionModel(site))
        self._motion = JointMotion.at_rest(site.arm.home)
        self._brake = plan_brake(self._motion, self._brake_limits)
        self._braked_s = 0.0
        self._earlier: tuple[list[float], list[float]] = (self._motion.positions, self._motion.positions)

    @property
    def motion(self) -> JointMotion:
        """The commanded state: what was let through last."""
        return self._motion

    @property
    def brake_duration_s(self) -> float:
        """How long the arm would take to stop from here."""
        return max(0.0, self._brake.duration_s - self._braked_s)

    def seat(self, joint_positions: list[float]) -> None:
        """Take ``joint_positions`` (measured, at rest) as the commanded state. Only while nothing moves."""
        self._motion = JointMotion.at_rest(joint_positions)
        self._brake = plan_brake(self._motion, self._brake_limits)
        self._braked_s = 0.0
        self._earlier = (self._motion.positions, self._motion.positions)
        self._proof.forgive(joint_positions)

    def obstacle(self) -> str:
        """What forbids any motion from where the arm stands now; empty if nothing does."""
        return self._position_refusal(self._brake) or self._named(self._proof.obstacle(self._brake))

    def admit(self, candidate: JointMotion) -> Verdict:
        """Let ``candidate``, meant one tick after the present command, through; or take the next braking step."""
        refusal = self._kinematic_refusal(candidate)
        if not refusal:
            brake = plan_brake(candidate, self._brake_limits)
            refusal = self._brake_refusal(brake)
            if not refusal:
                self._brake = brake
                self._braked_s = 0.0
                self._advance(candidate)
                return Verdict(candidate, "")
        return Verdict(self.brake_step(), refusal)

    def brake_step(self) -> JointMotion:
        """The next step of the verified braking motion; holds once it is at rest."""
        self._braked_s = min(self._braked_s + self._period_s, self._brake.duration_s + self._period_s)
        motion = self._brake.at(self._braked_s)
        self._advance(motion)
        return motion

    def rest(self) -> None:
        """Call what little velocity and acceleration is left of a settled motion zero, at the present position."""
        self._motion = JointMotion.at_rest(self._motion.positions)
        self._brake = plan_brake(self._motion, self._brake_limits)
        self._braked_s = 0.0

    def _advance(self, motion: JointMotion) -> None:
        self._earlier = (self._earlier[1], self._motion.positions)
        self._motion = motion

    def _kinematic_refusal(self, candidate: JointMotion) -> str:
        """Check the step itself: finite, within the limits by its own account and by differences of what was sent."""
        dt, limits, now = self._period_s, self._limits, self._motion
        for joint, (p3, v3, a3, p2, v2, a2, p1, p0, v_max, a_max, j_max) in enumerate(
            zip(
                candidate.positions,
                candidate.velocities,
                candidate.accelerations,
                now.positions,
                now.velocities,
                now.accelerations,
                self._earlier[1],
                self._earlier[0],
                limits.velocity,
                limits.acceleration,
                limits.jerk,
                strict=True,
            )
        ):
            if not (isfinite(p3) and isfinite(v3) and isfinite(a3)):
                return f"command of {JOINT_NAMES[joint]} is not a number"
            step = p3 - p2
            slack = 1.0 + _ROUNDING
            if abs(step) > v_max * dt * slack or abs(v3) > v_max * slack:
                return f"{JOINT_NAMES[joint]} would exceed its velocity limit"
            bend = step - (p2 - p1)
            if abs(bend) > a_max * dt * dt * slack + _POSITION_ROUNDING or abs(a3) > a_max * slack:
                return f"{JOINT_NAMES[joint]} would exceed its acceleration limit"
            twist = bend - (p2 - 2.0 * p1 + p0)
            j_dt = j_max * dt * slack
            if (
                abs(twist) > j_dt * dt * dt + _POSITION_ROUNDING
                or abs(a3 - a2) > j_dt
                or abs(v3 - v2 - dt * a2) > 0.5 * dt * j_dt + _POSITION_ROUNDING
                or abs(step - dt * (v2 + 0.5 * dt * a2)) > dt * dt * j_dt / 6.0 + _POSITION_ROUNDING
            ):
                return f"{JOINT_NAMES[joint]} would exceed its jerk limit"
        return ""

    def _brake_refusal(self, brake: BrakeMotion) -> str:
        for joint, (speed, v_max) in enumerate(zip(brake.top_speeds, self._limits.velocity, strict=True)):
            if speed > v_max:
                return f"{JOINT_NAMES[joint]} could not stay below its velocity limit"
        return self._position_refusal(brake) or self._named(self._proof.obstacle(brake))

    def _position_refusal(self, brake: BrakeMotion) -> str:
        limits = self._limits
        for joint, (low, high, low_limit, high_limit) in enumerate(
            zip(brake.low, brake.high, limits.position_min, limits.position_max, strict=True)
        ):
            if low < low_limit or high > high_limit:
                return f"{JOINT_NAMES[joint]} could not stop within its position limits"
        return ""

    def _named(self, obstacle: str) -> str:
        return f"the arm could not stop clear of {obstacle}" if obstacle else ""
