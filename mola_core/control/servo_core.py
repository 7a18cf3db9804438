"""The 500 Hz tick: chunks and the measured state go in, one safe joint target comes out.

Pure: no clock, no I/O, no thread. It runs unchanged in the servo process, in tests, and in the twin's lockstep rig.
States and transitions are those of ARCHITECTURE.md; a new core begins in ``STOPPED``.
"""

from dataclasses import dataclass, field

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S
from mola_core.contracts.site import Site
from mola_core.contracts.types import NUM_JOINTS
from mola_core.control.arm_watch import ArmWatch
from mola_core.control.chunk_buffer import ChunkBuffer, first_target, late_rows
from mola_core.control.histogram import DurationHistogram
from mola_core.control.joint_chunk import JointChunk
from mola_core.control.limiter import Limiter
from mola_core.control.motion import MARGIN, JointMotion, MotionLimits
from mola_core.control.safety_filter import SafetyFilter
from mola_core.control.servo_types import ChunkOutcome, Measured, Rung, ServoCommand, ServoState

MAX_OFFERS = 16
"""Chunks that may wait for the next tick; the oldest ones beyond are superseded unseen."""
_STALL_TICKS = 3
"""Ticks that may be missing before the path is joined anew; the limiter makes up for fewer."""
_SETTLED_RAD, _SETTLED_RAD_S, _SETTLED_RAD_S2 = 2e-4, 1e-5, 1e-3
"""A finished motion counts as settled below all of these; dropping the rest to zero costs a hundredth of the jerk limit."""
_ENGAGED = (ServoState.HOLDING, ServoState.EXECUTING)
_HAND_REST_RAD, _HAND_REST_TICKS = 2e-5, 25
"""The arm rests after the hand let go once no joint moved by more in a tick, for so many ticks."""


@dataclass(slots=True)
class ServoCounters:
    """What has happened since the core was made."""

    outcomes: list[int] = field(default_factory=lambda: [0] * len(ChunkOutcome))
    """Chunks by :class:`ChunkOutcome`."""
    ladder_ticks: list[int] = field(default_factory=lambda: [0] * len(Rung))
    """Ticks of execution by :class:`Rung`."""
    late_rows: int = 0
    splices: int = 0
    filtered_ticks: int = 0
    """Ticks in which the safety filter replaced the command."""
    chasing_ticks: int = 0
    """Ticks in which limits held the arm back from the plan."""
    stops: int = 0
    """Times that motion or engagement was ended by anything but the end of a final chunk."""


class ServoCore:
    """One arm's servo. Called from one thread."""

    def __init__(self, site: Site) -> None:
        servo = site.arm.servo
        self.period_ns = round(NS_PER_S / servo.frequency_hz)
        self._delay_ns = round(servo.arm_delay_s * NS_PER_S)
        self._stale_ns = site.safety.stale_ms * NS_PER_MS
        self._engage_delta = site.arm.engage_delta
        self._bounds = (np.array(site.arm.position_min), np.array(site.arm.position_max))
        limits = MotionLimits.of(site.arm, fraction=MARGIN)
        self._filter = SafetyFilter(site, period_ns=self.period_ns)
        self._limiter = Limiter(limits=limits, period_ns=self.period_ns)
        self._buffer = ChunkBuffer(limits=limits)
        self._watch = ArmWatch(delay_s=servo.arm_delay_s, period_s=self.period_ns / NS_PER_S)
        self._offers: list[JointChunk] = []
        self._newest: dict[str, int] = {}
        self._state = ServoState.STOPPED
        self._after_brake = ServoState.STOPPED
        self._reason = "just started; waiting for resume"
        self._note = ""
        self._stop_requested = ""
        self._resume_requested = False
        self._releasing = False
        self._hand_wanted = False
        self._hand_rest_ticks = 0
        self._seated = False
        self._source = ""
        self._alive_stamp_ns = 0
        self._gripper: float | None = None
        self._rung = Rung.HOLD
        self._last_ns = 0
        self._stalled = False
        self.counters = ServoCounters()
        self.latency = DurationHistogram()
        """Age of a chunk's oldest input at the tick that first executes it (camera to servo)."""

    @property
    def state(self) -> ServoState:
        """Where the core stands after the last tick."""
        return self._state

    @property
    def motion(self) -> JointMotion:
        """The commanded positions, velocities and accelerations after the last tick."""
        return self._filter.motion

    @property
    def executed_chunk(self) -> JointChunk | None:
        """The chunk in force, if any."""
        return None if self._buffer.active is None else self._buffer.active.chunk

    @property
    def rung(self) -> Rung:
        """Rung of the degradation ladder at the last tick."""
        return self._rung

    @property
    def alive_stamp_ns(self) -> int:
        """Newest accepted ``alive_stamp_ns`` of the source in force; 0 before any."""
        return self._alive_stamp_ns

    @property
    def brake_duration_s(self) -> float:
        """How long the arm would take to stop from its commanded state."""
        return self._filter.brake_duration_s

    def offer(self, chunk: JointChunk) -> None:
        """Hand in a validated chunk; the next tick judges it (see ``counters.outcomes``)."""
        self._offers.append(chunk)
        if len(self._offers) > MAX_OFFERS:
            self._offers.pop(0)
            self.counters.outcomes[ChunkOutcome.SUPERSEDED] += 1

    def resume(self) -> None:
        """The operator wants motion; takes effect in the next tick if the core is stopped and the arm well."""
        self._resume_requested = True

    def stop(self, reason: str) -> None:
        """Brake in the next tick and stay stopped until :meth:`resume`; wins over a resume of the same tick."""
        self._stop_requested = reason or "stopped by the operator"

    def guide_by_hand(self, wanted: bool) -> None:
        """Whether a person wants to move the arm by hand; taken up by an arm that is engaged and at rest."""
        self._hand_wanted = wanted

    def tick(self, now_ns: int, measured: Measured) -> ServoCommand:
        """One step of ``period_ns``. ``now_ns`` is the stamp at which this tick was due, not when it was reached."""
        if not self._seated:
            self._seat(measured)
        self._stalled = now_ns - self._last_ns > _STALL_TICKS * self.period_ns
        self._last_ns = now_ns
        self._note = ""
        self._rung = Rung.HOLD
        self._check_arm(measured)
        self._obey_operator(measured)
        self._follow_hand(measured)
        due_ns = now_ns + self._delay_ns
        self._judge_offers(now_ns=now_ns, due_ns=due_ns)
        if self._state is ServoState.EXECUTING and self._releasing:
            self._come_to_rest()
        elif self._state is ServoState.EXECUTING:
            self._execute(now_ns=now_ns, due_ns=due_ns)
        elif self._state is ServoState.BRAKING and self._filter.brake_step().is_at_rest:
            self._state = self._after_brake
        return ServoCommand(
            joint_target=np.array(self._filter.motion.positions),
            gripper_target=self._gripper,
            state=self._state,
            reason=self._note or self._reason,
        )

    # --- states -----------------------------------------------------------------------------------------------------

    def _seat(self, measured: Measured) -> None:
        self._filter.seat(measured.joint_positions.tolist())
        self._seated = True

    def _brake(self, reason: str) -> None:
        """Leave motion, or engagement, for STOPPED."""
        if self._state is ServoState.STOPPED or (
            self._state is ServoState.BRAKING and self._after_brake is ServoState.STOPPED
        ):
            return
        self.counters.stops += 1
        self._reason = reason
        self._after_brake = ServoState.STOPPED
        self._buffer.clear()
        self._releasing = False
        self._state = ServoState.STOPPED if self._filter.motion.is_at_rest else ServoState.BRAKING

    def _finish(self, reason: str) -> None:
        """End a final chunk: still engaged."""
        self._reason = reason
        self._after_brake = ServoState.HOLDING
        self._buffer.clear()
        self._state = ServoState.HOLDING if self._filter.motion.is_at_rest else ServoState.BRAKING

    def _check_arm(self, measured: Measured) -> None:
        motion = self._filter.motion
        anomaly = self._watch.anomaly(measured, motion)
        if anomaly:
            self._brake(anomaly)

    def _obey_operator(self, measured: Measured) -> None:
        stop, resume = self._stop_requested, self._resume_requested
        self._stop_requested, self._resume_requested = "", False
        if stop:
            self._brake(stop)
        elif resume and self._state is ServoState.STOPPED:
            self._engage(measured)

    def _follow_hand(self, measured: Measured) -> None:
        """Let a person move the arm: the commanded state is where the arm is, so that nothing jumps when the hand lets go."""
        if self._state is ServoState.EXECUTING and self._hand_wanted:
            self._releasing = True
        elif self._state is ServoState.HOLDING and self._hand_wanted:
            self._state, self._reason = ServoState.GUIDED, "guided by hand"
        elif self._state is ServoState.GUIDED and not self._hand_wanted:
            self._state, self._reason = ServoState.SETTLING, "let go by the hand; coming to rest"
            self._hand_rest_ticks = 0
        if self._state not in (ServoState.GUIDED, ServoState.SETTLING):
            return
        moved = self._watch.gap(measured, self._filter.motion)
        self._seat(measured)
        self._hand_rest_ticks = self._hand_rest_ticks + 1 if moved < _HAND_REST_RAD else 0
        if self._state is ServoState.SETTLING and self._hand_rest_ticks >= _HAND_REST_TICKS:
            self._watch.reset()
            self._engage(measured)
            if self._state is ServoState.SETTLING:
                self._brake(self._reason)

    def _engage(self, measured: Measured) -> None:
        refusal = self._watch.mode_anomaly(measured)
        if not refusal:
            if self._watch.gap(measured, self._filter.motion) > self._watch.reseat_rad:
                # Moved by hand, or stopped by the controller: start from where it is.
                self._seat(measured)
                self._watch.reset()
            refusal = self._filter.obstacle()
        if refusal:
            self._reason = f"cannot resume: {refusal}"
            return
        self._newest.clear()
        self._state = ServoState.HOLDING
        self._reason = "engaged; waiting for a chunk"

    # --- chunks -----------------------------------------------------------------------------------------------------

    def _judge_offers(self, *, now_ns: int, due_ns: int) -> None:
        if not self._offers:
            return
        chosen: JointChunk | None = None
        for chunk in self._offers:
            outcome = self._judge(chunk, now_ns=now_ns, due_ns=due_ns)
            if outcome is ChunkOutcome.ACCEPTED:
                self._newest[chunk.source] = chunk.sequence
                if chosen is not None:
                    self.counters.outcomes[ChunkOutcome.SUPERSEDED] += 1
                chosen = chunk
            else:
                self.counters.outcomes[outcome] += 1
        self._offers.clear()
        if chosen is not None:
            self._accept(chosen, due_ns=due_ns)

    def _release(self, chunk: JointChunk) -> None:
        """Come to rest at once, and stay engaged; the plan of before is forgotten when the arm is there."""
        self.counters.outcomes[ChunkOutcome.ACCEPTED] += 1
        self._releasing = True
        self._gripper = float(chunk.gripper_openings[-1])

    def _judge(self, chunk: JointChunk, *, now_ns: int, due_ns: int) -> ChunkOutcome:
        refusals = (
            (ChunkOutcome.NOT_ENGAGED, self._hand_wanted or self._state not in _ENGAGED),
            (ChunkOutcome.OUT_OF_ORDER, chunk.sequence <= self._newest.get(chunk.source, -1)),
            (ChunkOutcome.STALE, now_ns - chunk.alive_stamp_ns > self._stale_ns),
        )
        for outcome, applies in refusals:
            if applies:
                return outcome
        if not self._is_well_formed(chunk):
            return ChunkOutcome.MALFORMED
        if chunk.is_release:
            # of a source that moves nothing it means nothing, and must not stop another's motion
            foreign = self._state is ServoState.EXECUTING and chunk.source != self._source
            return ChunkOutcome.LATE if foreign else ChunkOutcome.ACCEPTED
        if chunk.end_ns + chunk.period_ns < now_ns:
            return ChunkOutcome.LATE
        starts_motion = self._state is ServoState.HOLDING or chunk.source != self._source
        too_far = starts_motion and self._distance(first_target(chunk, stamp_ns=due_ns)) > self._engage_delta
        return ChunkOutcome.TOO_FAR if too_far else ChunkOutcome.ACCEPTED

    def _is_well_formed(self, chunk: JointChunk) -> bool:
        targets, openings = chunk.joint_targets, chunk.gripper_openings
        low, high = self._bounds
        return bool(
            targets.ndim == 2
            and targets.shape == (len(openings), NUM_JOINTS)
            and len(openings) > 0
            and chunk.period_ns > 0
            and ((targets >= low) & (targets <= high)).all()  # NaN fails every comparison
            and ((openings >= 0.0) & (openings <= 1.0)).all()
        )

    def _distance(self, joint_positions: list[float]) -> float:
        return max(abs(a - b) for a, b in zip(joint_positions, self._filter.motion.positions, strict=True))

    def _accept(self, chunk: JointChunk, *, due_ns: int) -> None:
        if chunk.is_release:
            if self._state is ServoState.EXECUTING:
                self._release(chunk)
            else:
                self.counters.outcomes[ChunkOutcome.SUPERSEDED] += 1  # there is nothing to be released
            return
        self._releasing = False
        self.counters.outcomes[ChunkOutcome.ACCEPTED] += 1
        self.counters.late_rows += late_rows(chunk, stamp_ns=due_ns)
        same_source = chunk.source == self._source and self._state is ServoState.EXECUTING
        self._alive_stamp_ns = max(chunk.alive_stamp_ns, self._alive_stamp_ns if same_source else 0)
        self._source = chunk.source
        self._buffer.put(chunk)
        self._state = ServoState.EXECUTING
        self._reason = ""

    # --- motion -----------------------------------------------------------------------------------------------------

    def _execute(self, *, now_ns: int, due_ns: int) -> None:
        # The commanded state is that of the tick before; this tick moves it on to ``due_ns``.
        before_ns = due_ns - self.period_ns
        if self._stalled:
            self._buffer.splice_again(before_ns, motion=self._filter.motion)
        spliced = self._buffer.splice_if_due(before_ns, motion=self._filter.motion)
        if spliced is not None:
            self.counters.splices += 1
            self.latency.add(now_ns - spliced.stamp_ns)
        reference = self._buffer.active
        self._rung = self._buffer.rung(due_ns)
        self.counters.ladder_ticks[self._rung] += 1
        age_ns = now_ns - self._alive_stamp_ns
        ran_out = self._buffer.has_run_out(due_ns)
        if age_ns > self._stale_ns:
            if ran_out and reference is not None and reference.chunk.final:
                self._finish("finished")
            else:
                self._brake(f"stale: the newest input is {age_ns / NS_PER_MS:.0f} ms old")
        elif ran_out and reference is not None and not reference.chunk.final:
            self._brake("starved: the last chunk ran out and none followed")
        elif reference is not None:
            self._gripper = self._buffer.gripper_opening(due_ns)
            self._follow(reference_due_ns=before_ns)
            if reference.chunk.final and reference.ends_before(due_ns) and self._settle(reference.last_row):
                self._finish(self._note or "finished")
            return
        if self._state is ServoState.BRAKING:
            self._filter.brake_step()

    def _come_to_rest(self) -> None:
        """Brake along the verified motion; engaged all the while, so that whoever let go may take hold again."""
        if self._filter.motion.is_at_rest or self._filter.brake_step().is_at_rest:
            self._releasing = False
            self._finish("released")

    def _follow(self, *, reference_due_ns: int) -> None:
        reference = self._buffer.active
        assert reference is not None  # noqa: S101 - our own bug otherwise
        candidate = self._limiter.step(self._filter.motion, reference=reference, stamp_ns=reference_due_ns)
        self.counters.chasing_ticks += self._limiter.is_chasing
        verdict = self._filter.admit(candidate)
        if verdict.refusal:
            self.counters.filtered_ticks += 1
            self._note = verdict.refusal

    def _settle(self, last_row: list[float]) -> bool:
        """Whether the motion is over, its last remainder dropped; at rest short of the target counts too."""
        motion = self._filter.motion
        if (
            max(abs(v) for v in motion.velocities) <= _SETTLED_RAD_S
            and max(abs(a) for a in motion.accelerations) <= _SETTLED_RAD_S2
            and self._distance(last_row) <= _SETTLED_RAD
        ):
            self._filter.rest()
        return self._filter.motion.is_at_rest
