"""The door through which chunk messages reach the servo process, and the tally of those that did not get through."""

from dataclasses import dataclass

from mola_interfaces.msg import ActionChunk as ActionChunkMsg

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.site import Site
from mola_core.contracts.types import ActionChunk
from mola_core.control.arbiter import Arbiter
from mola_core.control.link_records import ServoStatus
from mola_core.control.servo_types import ChunkOutcome
from mola_core.control.validation import SolvedPlan, prepare_chunk
from mola_nodes.conversions.motion import chunk_from_message
from mola_nodes.servo_supervisor import ServoSupervisor, SupervisedStatus

_NOT_REFUSED = (ChunkOutcome.ACCEPTED, ChunkOutcome.SUPERSEDED)
_SENTENCES = {
    ChunkOutcome.OUT_OF_ORDER: "it is not newer than the last one of its source",
    ChunkOutcome.STALE: "its alive_stamp is older than the site's stale_ms",
    ChunkOutcome.LATE: "all its rows were meant for the past",
    ChunkOutcome.NOT_ENGAGED: "the servo is stopped; call the resume service",
    ChunkOutcome.TOO_FAR: "its first target is further than the site's engage_delta from where the arm is",
    ChunkOutcome.MALFORMED: "it is malformed",
}


_SAID_AGAIN_NS = NS_PER_S // 2
"""A source that says its plan once more does so sooner; in between, the arm may have been brought elsewhere."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """The last chunk that got through."""

    source: str
    when_ns: int
    plan: SolvedPlan


class ChunkDoor:
    """Checks, converts and hands over; belongs to the executor's thread."""

    def __init__(self, site: Site, *, supervisor: ServoSupervisor, clock: Clock) -> None:
        self._site = site
        self._supervisor = supervisor
        self._clock = clock
        self._arbiter = Arbiter(stale_ms=site.safety.stale_ms)
        self._rejected_here = 0
        self._pid: int | None = None
        self._earlier = dict.fromkeys(ChunkOutcome, 0)
        """Outcomes in servo processes that have left."""
        self._current = dict.fromkeys(ChunkOutcome, 0)
        self._last: _Passed | None = None
        self.last_rejection = ""

    def take(self, message: ActionChunkMsg) -> None:
        """Pass a chunk on to the servo process.

        Raises:
            ChunkRejectedError: it is malformed, stale or unreachable, somebody else has the arm, or nobody could execute it.
        """
        try:
            servo, now_ns = self._servo(), self._clock.now_ns()
            chunk = chunk_from_message(message)
            self._arbiter.check(source=chunk.source, is_release=chunk.is_release, servo=servo, now_ns=now_ns)
            prepared = prepare_chunk(
                chunk,
                site=self._site,
                now_ns=now_ns,
                commanded=servo.commanded_positions,
                solved=self._solved(chunk, now_ns=now_ns),
            )
            self._arbiter.admit(source=chunk.source, is_release=chunk.is_release, now_ns=now_ns)
        except ChunkRejectedError as error:
            self._rejected_here += 1
            self.last_rejection = f"chunk {message.sequence} of {message.source!r}: {error}"
            raise ChunkRejectedError(self.last_rejection) from error
        self._supervisor.offer(prepared)
        self._last = _Passed(chunk.source, now_ns, SolvedPlan(chunk.targets, prepared.joint_targets))

    def _solved(self, chunk: ActionChunk, *, now_ns: int) -> SolvedPlan | None:
        last = self._last
        is_near = last is not None and last.source == chunk.source and now_ns - last.when_ns < _SAID_AGAIN_NS
        return last.plan if last is not None and is_near else None

    def note(self, status: SupervisedStatus) -> str:
        """Follow what became of the chunks in the servo process; a sentence when it refused one since the last call."""
        if status.servo is None:
            return ""
        if status.pid != self._pid:
            self._earlier = {outcome: self._earlier[outcome] + self._current[outcome] for outcome in ChunkOutcome}
            self._current = dict.fromkeys(ChunkOutcome, 0)
            self._pid = status.pid
        before, self._current = self._current, status.servo.outcomes
        refused = [o for o in ChunkOutcome if o not in _NOT_REFUSED and self._current[o] > before[o]]
        if not refused:
            return ""
        self.last_rejection = f"the servo refused a chunk: {_SENTENCES[refused[-1]]}"
        return self.last_rejection

    def _servo(self) -> ServoStatus:
        status = self._supervisor.status()
        if status.servo is None:
            raise ChunkRejectedError(f"the arm is not connected: {status.problem}")
        return status.servo

    @property
    def accepted(self) -> int:
        """Chunks that were executed, or superseded before they were."""
        return sum(self._count(outcome) for outcome in _NOT_REFUSED)

    @property
    def rejected(self) -> int:
        """Chunks refused, here or by the servo process."""
        return self._rejected_here + sum(self._count(o) for o in ChunkOutcome if o not in _NOT_REFUSED)

    def _count(self, outcome: ChunkOutcome) -> int:
        return self._earlier[outcome] + self._current[outcome]
