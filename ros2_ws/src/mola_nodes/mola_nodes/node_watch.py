"""What the lifecycle manager knows of one node, from its heartbeats; no ROS in here."""

from dataclasses import dataclass, field
from enum import Enum

from mola_core.contracts.clock import NS_PER_MS


class Change(Enum):
    """What a watch noticed."""

    APPEARED = "appeared"
    DIED = "died"
    RESTARTED = "restarted"
    ANSWERS_AGAIN = "answers again"


UNKNOWN, UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = 0, 1, 2, 3, 4
"""Primary states of lifecycle_msgs/State; larger numbers are transitions under way."""


@dataclass(slots=True)
class NodeWatch:
    """One managed node; times are monotonic nanoseconds."""

    name: str
    """Fully qualified."""
    timeout_ns: int
    alive: bool = False
    pid: int = 0
    state: int = UNKNOWN
    problem: str = ""
    last_beat_ns: int = 0
    pending: bool = True
    """It has to be brought up: it is new, came back, or failed to come up."""
    retry_at_ns: int = 0
    reported_problem: str = ""
    refusal: str = ""
    """Why its newest sign of life could not be used; empty while they can."""
    _num_failures: int = field(default=0, repr=False)

    def beat(self, *, now_ns: int, pid: int, state: int, problem: str) -> Change | None:
        """Take a heartbeat; says what changed with it."""
        known_pid, was_alive = self.pid, self.alive
        self.refusal = ""
        self.last_beat_ns, self.pid, self.state, self.problem, self.alive = now_ns, pid, state, problem, True
        if known_pid and pid != known_pid:
            self._start_over()
            return Change.RESTARTED
        if was_alive:
            return None
        # a node that was only silent may still be active; then there is nothing to bring up
        self.pending = state != ACTIVE
        return Change.ANSWERS_AGAIN if known_pid else Change.APPEARED

    def refuse(self, reason: str) -> None:
        """It gave a sign of life that cannot be used; it does not count as one."""
        self.refusal = reason

    def check(self, *, now_ns: int) -> Change | None:
        """Has it fallen silent?"""
        if self.alive and now_ns - self.last_beat_ns > self.timeout_ns:
            self.alive = False
            self._start_over()
            return Change.DIED
        return None

    @property
    def is_up(self) -> bool:
        """Heard lately, and active."""
        return self.alive and self.state == ACTIVE

    def is_due(self, *, now_ns: int) -> bool:
        """Should it be brought up now?"""
        return self.alive and self.pending and now_ns >= self.retry_at_ns

    def came_up(self) -> None:
        """It is active."""
        self.pending = False
        self.reported_problem = ""
        self._num_failures = 0

    def failed(self, *, now_ns: int, problem: str) -> bool:
        """It did not come up; try later, more and more rarely. True if the problem is a new one."""
        self._num_failures += 1
        self.retry_at_ns = now_ns + min(500 * 2**self._num_failures, 8000) * NS_PER_MS
        is_new = problem != self.reported_problem
        self.reported_problem = problem
        return is_new

    def describe(self) -> str:
        """Why it is not up, in a few words."""
        if self.is_up:
            return "active"
        if not self.alive:
            return self.refusal or ("silent" if self.pid else "not started")
        return self.problem or self.reported_problem or "coming up"

    def _start_over(self) -> None:
        self.pending = True
        self.retry_at_ns = 0
        self.reported_problem = ""
        self._num_failures = 0
