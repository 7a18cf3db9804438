"""The 500 Hz loop around the servo core: absolute deadlines, signs of life, status. It owns nothing that can block.

Deadlines are absolute and monotonic. The core is told the stamp at which a tick was *due*, so that a late wake-up bends
time nowhere; after a long stall the loop takes a new phase instead of catching up in a burst.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Int64

from mola_core.contracts.clock import NS_PER_MS, Clock
from mola_core.contracts.site import Site
from mola_core.contracts.types import Joints, SafetyMode
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_link import OperatorRecord, ServoEnd
from mola_core.control.servo_types import Reading, ServoCommand, ServoState
from mola_core.control.status_writer import StatusWriter

REPHASE_TICKS = 5
"""Falling behind by more ticks than this counts as a stall."""
HAND_TIMEOUT_NS = 150 * NS_PER_MS
"""Without a fresh word that the arm is to be guided by hand for so long, its drives hold again."""
_HAND_DECELERATION = 2.0
"""m/s^2; the arm rests already."""
_REST_RAD_S, _SETTLING_NS = 0.01, 333 * NS_PER_MS
_MAX_CLOCK_SLEW_NS = 2_000
"""How much the stamp of a tick may move against the monotonic clock: follows a disciplined clock without jitter."""
_CLOCK_STEP_NS = 20 * NS_PER_MS
"""A system clock that moved further than this was stepped, and is followed at once: the stamps of before look stale."""


class ServoArm(Protocol):
    """What the loop needs of an arm; the drivers' ``Arm`` fits."""

    def read(self) -> Reading:
        """The newest reading, without blocking."""
        ...

    def servo(self, joint_positions: Joints) -> None:
        """Follow to ``joint_positions``, without blocking."""
        ...

    def keep_alive(self) -> None:
        """Feed the watchdog without a target."""
        ...

    def stop(self, *, deceleration: float) -> None:
        """Leave servo mode; takes some tens of milliseconds for an arm at rest. ``deceleration`` in m/s^2."""
        ...

    def start_freedrive(self) -> None:
        """Let the arm be moved by hand; takes a few milliseconds."""
        ...

    def stop_freedrive(self) -> None:
        """Hold again; takes a few milliseconds."""
        ...

    @property
    def is_alive(self) -> bool:
        """The controller's own clock progresses."""
        ...


class ProgramStoppedError(Exception):
    """The program that follows our targets runs no more: watchdog, pendant, or a stop; the process must end."""


class ArmSilentError(Exception):
    """The controller's clock has not progressed for too long; the process that owns the link must end."""


class SendRecord:
    """Remembers when each target was sent and how late its tick was; memory is taken beforehand."""

    def __init__(self, *, capacity: int) -> None:
        self._rows = np.zeros((capacity, 2), dtype=np.int64)
        self._count = 0

    def add(self, sent_ns: int, lateness_ns: int) -> None:
        """Note one target; those beyond the capacity are forgotten."""
        if self._count < len(self._rows):
            self._rows[self._count] = sent_ns, lateness_ns
            self._count += 1

    @property
    def rows(self) -> Int64[np.ndarray, "targets 2"]:
        """Monotonic nanoseconds of sending, and how late the tick began."""
        return self._rows[: self._count]


class ServoLoop:
    """Runs until told to end. Errors of the arm pass through.

    Make it before connecting the arm, whose watchdog runs from then on.
    """

    def __init__(
        self, *, site: Site, arm: ServoArm, link: ServoEnd, clock: Clock, record: SendRecord | None = None
    ) -> None:
        self._arm = arm
        self._link = link
        self._clock = clock
        self._core = ServoCore(site)
        self._period_ns = self._core.period_ns
        self._heartbeat_ns = site.safety.heartbeat_ms * NS_PER_MS
        self._status = StatusWriter(self._core, link=link, clock=clock)
        self._resumes = self._stops = 0
        self._epoch_offset_ns = clock.now_ns() - clock.monotonic_ns()
        self._ending = ""
        self._settling_ticks = 0
        self._is_free = False
        self._record = record

    @property
    def core(self) -> ServoCore:
        """The core that is being run."""
        return self._core

    def end(self, reason: str) -> None:
        """Brake, then leave :meth:`run`. May be called from a signal handler."""
        self._ending = self._ending or reason

    def run(self, *, watch: Callable[[], str] = lambda: "") -> str:
        """Tick until ended and at rest; returns why it ended.

        ``watch`` is asked once per tick and returns a reason to end, or nothing.

        Raises:
            ArmSilentError: the arm's clock stands still.
            ProgramStoppedError: the controller no longer executes the servo program.
            ArmError: from the arm.
        """
        operator = self._link.operator()  # what was wished before does not count
        self._resumes, self._stops = operator.resumes, operator.stops
        deadline_ns = self._clock.monotonic_ns()
        while True:
            self._clock.sleep_until(deadline_ns)
            lateness_ns = self._clock.monotonic_ns() - deadline_ns
            self._status.count_tick(lateness_ns)
            if lateness_ns > REPHASE_TICKS * self._period_ns:
                deadline_ns += lateness_ns
            self._tick(deadline_ns, reason_to_end=watch())
            if self._record is not None:
                self._record.add(self._clock.monotonic_ns(), lateness_ns)
            if self._ending and self._has_settled():
                self._status.publish()
                return self._ending
            deadline_ns += self._period_ns

    def _tick(self, deadline_ns: int, *, reason_to_end: str) -> None:
        if reason_to_end:
            self.end(reason_to_end)
        reading = self._arm.read()
        if not self._arm.is_alive:
            raise ArmSilentError(f"the arm's clock stands still at {reading.controller_time_s:.3f} s")
        if not reading.program_running:
            # Before sending: the library would start it again by itself, with this target.
            raise ProgramStoppedError(_why_stopped(reading))
        self._obey(self._link.operator())
        for chunk in self._link.take_chunks():
            self._core.offer(chunk)
        stamp_ns = self._stamp(deadline_ns)
        command = self._core.tick(stamp_ns, reading)
        self._move(command)
        self._status.report(command, reading, stamp_ns=stamp_ns)

    def _move(self, command: ServoCommand) -> None:
        """Have the arm follow the target or, while a person guides it, the hand; no target is sent until it rests again."""
        free = command.state is ServoState.GUIDED
        if free != self._is_free:
            self._is_free = free
            if free:
                self._arm.stop(deceleration=_HAND_DECELERATION)  # the controller gives way only once it servos no more
                self._arm.start_freedrive()
            else:
                self._arm.stop_freedrive()
        if command.state in (ServoState.GUIDED, ServoState.SETTLING):
            self._arm.keep_alive()
        else:
            self._arm.servo(command.joint_target)

    def _has_settled(self) -> bool:
        """The command rests and the arm, which lags behind it, has followed (or does not within a third of a second)."""
        if self._core.state is not ServoState.STOPPED:
            return False
        self._settling_ticks += 1
        at_rest = float(abs(self._arm.read().joint_velocities).max()) < _REST_RAD_S
        return at_rest or self._settling_ticks * self._period_ns > _SETTLING_NS

    def _obey(self, operator: OperatorRecord) -> None:
        if operator.resumes != self._resumes:
            self._resumes = operator.resumes
            self._core.resume()
        if operator.stops != self._stops:
            self._stops = operator.stops
            self._core.stop(operator.stop_reason)
        now_ns = self._clock.monotonic_ns()
        self._core.guide_by_hand(0 < operator.hand_beat_ns > now_ns - HAND_TIMEOUT_NS)
        silent_ns = now_ns - operator.controller_beat_ns
        if silent_ns > self._heartbeat_ns:
            self._core.stop(f"the controller node is silent for {silent_ns / NS_PER_MS:.0f} ms")
        elif operator.manager_beat_ns and now_ns - operator.manager_beat_ns > self._heartbeat_ns:
            self._core.stop(
                f"the lifecycle manager is silent for {(now_ns - operator.manager_beat_ns) / NS_PER_MS:.0f} ms"
            )
        if self._ending:
            self._core.stop(self._ending)

    def _stamp(self, deadline_ns: int) -> int:
        """The epoch stamp of a monotonic deadline."""
        drift_ns = self._clock.now_ns() - self._clock.monotonic_ns() - self._epoch_offset_ns
        if abs(drift_ns) > _CLOCK_STEP_NS:
            self._epoch_offset_ns += drift_ns
        else:
            self._epoch_offset_ns += max(-_MAX_CLOCK_SLEW_NS, min(_MAX_CLOCK_SLEW_NS, drift_ns))
        return deadline_ns + self._epoch_offset_ns


def _why_stopped(reading: Reading) -> str:
    mode = SafetyMode(reading.safety_mode)
    if mode not in (SafetyMode.NORMAL, SafetyMode.REDUCED):
        return f"the arm is in {mode.name}; clear the cause, then resume"
    return "the servo program on the controller has stopped (watchdog, pendant, or another client); resume starts over"
