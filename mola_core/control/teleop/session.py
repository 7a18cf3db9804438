"""One person at one device: readings go in, chunks and what to tell the person come out."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.site import Site
from mola_core.contracts.teleop import (
    RECORDER_PRESSES,
    HandGuidance,
    LeaderJoints,
    Press,
    TeleopCommand,
    Twist,
    is_teleop,
    teleop_source,
)
from mola_core.contracts.types import JOINT_NAMES, ActionChunk, ActionSpace, CommandedState
from mola_core.control.teleop.commanded import CommandedMotion
from mola_core.control.teleop.engagement import Engagement
from mola_core.control.teleop.frames import TwistFrames
from mola_core.control.teleop.motion import EXECUTE_STEPS, PERIOD_NS, TRANSPORT_NS, LeaderMotion, TwistMotion
from mola_core.control.teleop.settings import FASTEST, FRAMES, SLOWEST, SPEED_STEP, TeleopSettings, frame_name
from mola_core.control.teleop.stoppable import stoppable_speeds


@dataclass(frozen=True, slots=True)
class RigView:
    """What the session knows of the rig when it takes a reading."""

    commanded: CommandedState | None
    servo_problem: str
    """Why the servo takes no chunks; empty while it does."""
    measured_opening: float | None
    """Of the gripper; None where there is none or it has not answered."""


@dataclass(frozen=True, slots=True)
class TeleopView:
    """What a person wants to know of the session."""

    stamp_ns: int
    alive: bool
    enabled: bool
    engaged: bool
    takeover: bool
    reason: str
    frame: str
    speed_scale: float
    speed_share: float
    gripper_opening: float | None


@dataclass(frozen=True, slots=True)
class TeleopStep:
    """What one reading leads to."""

    chunk: ActionChunk | None
    hand_guidance: bool
    """The arm shall be guided by hand now."""
    view: TeleopView


class TeleopSession:
    """Fed with every reading of the device; sends a chunk every 20 ms while engaged, and a release when it ends."""

    def __init__(
        self, site: Site, *, device: str, settings: TeleopSettings, sequence: Iterator[int] | None = None
    ) -> None:
        """``sequence`` numbers the chunks and must count on over restarts.

        Raises:
            ConfigError: no such camera, or the arm cannot rest in the time wished for.
        """
        self._site = site
        self._source = teleop_source(device)
        self._device = device
        self._settings = settings
        self._sequence = sequence if sequence is not None else itertools.count()
        self._frames = TwistFrames(site, view=settings.view)
        self._allowed = stoppable_speeds(site.arm, within_s=settings.stop_within_s)
        self._delay_ns = round(site.arm.servo.arm_delay_s * NS_PER_S) + TRANSPORT_NS
        self._unheard_ns = site.safety.stale_ms * NS_PER_MS
        self._commanded = CommandedMotion()
        self._engagement = Engagement(settings.engage)
        self._motion: TwistMotion | LeaderMotion | None = None
        self._opening: float | None = None
        self._next_chunk_ns = 0
        self._takeover = False
        self.frame = settings.frame
        self.speed_scale = settings.speed_scale

    def press(self, press: Press) -> None:
        """One of the device's buttons, or the same wish by service; those of the episode recorder mean nothing here."""
        if press in RECORDER_PRESSES:
            return
        if press is Press.NEXT_FRAME:
            self.frame = FRAMES[(FRAMES.index(self.frame) + 1) % len(FRAMES)]
            return
        factor = SPEED_STEP if press is Press.FASTER else 1.0 / SPEED_STEP
        self.speed_scale = min(FASTEST, max(SLOWEST, self.speed_scale * factor))

    def step(self, command: TeleopCommand, *, rig: RigView, now_ns: int) -> TeleopStep:
        """Take one reading of the device."""
        if rig.commanded is not None:
            self._commanded.note(rig.commanded)
        for press in command.pressed:
            self.press(press)
        was_engaged = self._engagement.engaged
        self._engage(command, rig=rig, now_ns=now_ns)
        engaged = self._engagement.engaged
        if engaged and not was_engaged:
            self._begin(rig)
        chunk: ActionChunk | None = None
        guided = isinstance(command.motion, HandGuidance)
        if engaged and not guided:
            chunk = self._chunk_if_due(command, now_ns=now_ns)
        elif was_engaged and not engaged and not guided and not rig.servo_problem:
            chunk = self._release(command, now_ns=now_ns)
        if not engaged:
            self._motion, self._takeover = None, False
        return TeleopStep(chunk=chunk, hand_guidance=engaged and guided, view=self._view(command, rig))

    def let_go(self, *, now_ns: int) -> ActionChunk | None:
        """The session ends: a release if it is engaged."""
        if not self._engagement.engaged or self._motion is None:
            return None
        self._engagement.lose("the session has ended")
        rest = TeleopCommand(stamp_ns=now_ns, motion=None, gripper_opening=None, enabled=False, alive=True)
        return self._release(rest, now_ns=now_ns)

    # --- engaging ---------------------------------------------------------------------------------------------------

    def _engage(self, command: TeleopCommand, *, rig: RigView, now_ns: int) -> None:
        age_ns = now_ns - command.stamp_ns
        if not command.alive:
            self._engagement.lose(f"the {self._device} does not answer; is it plugged in?")
        elif age_ns > self._settings.device_timeout_s * NS_PER_S:
            limit_ms = 1e3 * self._settings.device_timeout_s
            self._engagement.lose(f"the {self._device} was last read more than {limit_ms:.0f} ms ago")
        else:
            self._engagement.update(
                held=command.enabled, obstacle=self._obstacle(rig, now_ns=now_ns), gate=self._gate(command)
            )

    def _obstacle(self, rig: RigView, *, now_ns: int) -> str:
        newest = self._commanded.newest
        if newest is None:
            return "the controller has not said yet where the arm is commanded to be"
        if now_ns - newest.stamp_ns > self._unheard_ns:
            return f"the controller has not reported for more than {self._unheard_ns // NS_PER_MS} ms"
        unknown = newest.gripper_opening is None and rig.measured_opening is None
        if unknown and self._site.gripper.kind != "none":
            return "the gripper has not said yet how far it is open; see the controller's diagnostics"
        return rig.servo_problem

    def _gate(self, command: TeleopCommand) -> str:
        """Why a leader may not engage where it is; sticks start from wherever the arm is."""
        newest = self._commanded.newest
        if not isinstance(command.motion, LeaderJoints) or newest is None:
            return ""
        gaps = np.abs(command.motion.joint_positions - newest.joint_positions)
        joint, limit = int(gaps.argmax()), self._settings.leader_gate_rad
        if gaps[joint] <= limit:
            return ""
        return (
            f"the leader's {JOINT_NAMES[joint]} is {gaps[joint]:.1f} rad from the arm's; bring it to within {limit:.2f}"
        )

    def _begin(self, rig: RigView) -> None:
        assert rig.commanded is not None  # noqa: S101 - our own bug otherwise: it is an obstacle
        self._takeover = bool(rig.commanded.source) and not is_teleop(rig.commanded.source)
        self._opening = rig.commanded.gripper_opening
        if self._opening is None:
            self._opening = rig.measured_opening
        self._next_chunk_ns = 0

    # --- chunks -----------------------------------------------------------------------------------------------------

    def _chunk_if_due(self, command: TeleopCommand, *, now_ns: int) -> ActionChunk | None:
        if command.gripper_opening is not None:
            self._opening = command.gripper_opening
        if now_ns < self._next_chunk_ns:
            return None
        self._next_chunk_ns = max(self._next_chunk_ns + PERIOD_NS, now_ns + PERIOD_NS // 2)
        start_ns = now_ns + self._delay_ns
        return self._chunk(command, targets=self._targets(command, start_ns=start_ns), start_ns=start_ns)

    def _targets(self, command: TeleopCommand, *, start_ns: int) -> Float[np.ndarray, "horizon 6"]:
        if isinstance(command.motion, LeaderJoints):
            if not isinstance(self._motion, LeaderMotion):
                self._motion = LeaderMotion(self._site, commanded=self._commanded, allowed=self._allowed)
            return self._motion.follow(command.motion, scale=self.speed_scale, start_ns=start_ns)
        twist = command.motion if isinstance(command.motion, Twist) else Twist(np.zeros(6), self.frame)
        if not isinstance(self._motion, TwistMotion):
            self._motion = TwistMotion(
                self._site, frames=self._frames, commanded=self._commanded, allowed=self._allowed
            )
        return self._motion.steer(twist, chosen=self.frame, scale=self.speed_scale, start_ns=start_ns)

    def _release(self, command: TeleopCommand, *, now_ns: int) -> ActionChunk:
        newest = self._commanded.newest
        assert newest is not None  # noqa: S101 - our own bug otherwise: it was engaged
        row = newest.joint_positions[None]
        chunk = self._chunk(command, targets=row, start_ns=now_ns)
        # a device that was lost has an old stamp, and its release must not be refused as stale for that
        return replace(chunk, stamp_ns=now_ns, alive_stamp_ns=now_ns, execute_steps=0, final=True)

    def _chunk(self, command: TeleopCommand, *, targets: Float[np.ndarray, "horizon 6"], start_ns: int) -> ActionChunk:
        return ActionChunk(
            sequence=next(self._sequence),
            source=self._source,
            bundle_id="",
            stamp_ns=command.stamp_ns,
            alive_stamp_ns=command.stamp_ns,
            start_ns=start_ns,
            period_ns=PERIOD_NS,
            space=ActionSpace.JOINT,
            targets=targets,
            # without a gripper nobody looks at it
            gripper_openings=np.full(len(targets), 1.0 if self._opening is None else self._opening),
            execute_steps=EXECUTE_STEPS,
            final=False,
        )

    def _view(self, command: TeleopCommand, rig: RigView) -> TeleopView:
        return TeleopView(
            stamp_ns=command.stamp_ns,
            alive=command.alive,
            enabled=command.enabled,
            engaged=self._engagement.engaged,
            takeover=self._takeover,
            reason=self._engagement.reason,
            frame=frame_name(self.frame),
            speed_scale=self.speed_scale,
            speed_share=1.0 if self._motion is None else self._motion.share,
            gripper_opening=self._opening if self._opening is not None else rig.measured_opening,
        )
