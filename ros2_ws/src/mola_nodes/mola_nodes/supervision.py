"""What the lifecycle manager does all day: bring up in order, notice the dead, bring them back, take down in reverse."""

import traceback
from collections.abc import Sequence
from typing import Protocol

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_nodes.node_watch import Change, NodeWatch
from mola_nodes.process import Ending

_LOOP_S = 0.05
_BRING_UP_S = 30.0
_TEAR_DOWN_S = 4.0
"""For all nodes together: launch sends SIGTERM after five."""


class Transitions(Protocol):
    """Asks nodes for transitions; see :class:`mola_nodes.transitions.TransitionDriver`."""

    def bring_up(self, watch: NodeWatch, *, timeout_s: float) -> bool:
        """Configure and activate."""
        ...

    def take_down(self, watch: NodeWatch, *, timeout_s: float) -> bool:
        """Deactivate, clean up and shut down."""
        ...


class Log(Protocol):
    """The part of an rclpy logger that is used here."""

    def info(self, message: str) -> object: ...
    def warning(self, message: str) -> object: ...
    def error(self, message: str) -> object: ...
    def fatal(self, message: str) -> object: ...


class Supervision:
    """Decides; ``transitions`` acts.

    ``run`` and ``tear_down`` block, in a thread of their own. Heartbeats and :meth:`notice_deaths` come from the
    executor's thread, so that a death is noticed while another node takes its time to come up.
    """

    def __init__(
        self,
        watches: Sequence[NodeWatch],
        *,
        transitions: Transitions,
        clock: Clock,
        log: Log,
        ending: Ending,
        bring_up_timeout_s: float,
    ) -> None:
        """``bring_up_timeout_s`` of 0 keeps trying for ever."""
        self._watches = watches
        self._transitions = transitions
        self._clock = clock
        self._log = log
        self._ending = ending
        self._limit_ns = round(bring_up_timeout_s * NS_PER_S)
        self._complete = False

    def run(self) -> None:
        """Until the process is asked to end; a bug is logged with its trace, and ends it."""
        try:
            self._look_after_all()
        except BaseException as error:  # noqa: BLE001 - the heart would beat on for nodes that nobody looks after
            self._log.fatal("".join(traceback.format_exception(error)))
            self._ending.request(exit_code=1)

    def step(self) -> None:
        """Look after every node once."""
        for watch in self._watches:
            if watch.is_due(now_ns=self._clock.monotonic_ns()):
                self._bring_up(watch)
            if watch.pending and not self._complete:
                break  # the first bring-up is strictly in order
        if not self._complete and not self.missing():
            self._complete = True
            self._log.info(f"all {len(self._watches)} nodes are active")

    def notice_deaths(self) -> None:
        """Name the nodes that fell silent."""
        for watch in self._watches:
            died = watch.check(now_ns=self._clock.monotonic_ns()) is Change.DIED
            if died and not self._ending.requested:
                self._log.error(f"{watch.name} (pid {watch.pid}) died: silent for {watch.timeout_ns // NS_PER_MS} ms")

    def tear_down(self) -> None:
        """Take the living down, last first."""
        deadline_ns = self._clock.monotonic_ns() + round(_TEAR_DOWN_S * NS_PER_S)
        for watch in reversed(self._watches):
            left_s = (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
            if watch.alive and left_s > 0 and not self._transitions.take_down(watch, timeout_s=left_s) and watch.alive:
                self._log.warning(f"{watch.name} did not go down in time")

    def missing(self) -> str:
        """The nodes that are not up, and why; empty when all are."""
        return "; ".join(f"{watch.name}: {watch.describe()}" for watch in self._watches if not watch.is_up)

    def _look_after_all(self) -> None:
        start_ns = self._clock.monotonic_ns()
        while not self._ending.wait(_LOOP_S):
            self.step()
            spent_ns = self._clock.monotonic_ns() - start_ns
            if self._limit_ns and not self._complete and spent_ns > self._limit_ns:
                self._log.fatal(f"not up within {self._limit_ns / NS_PER_S:g} s: {self.missing()}")
                self._ending.request(exit_code=3)

    def _bring_up(self, watch: NodeWatch) -> None:
        if self._transitions.bring_up(watch, timeout_s=_BRING_UP_S):
            watch.came_up()
            self._log.info(f"{watch.name} is active")
        elif watch.alive and not self._ending.requested:
            problem = watch.problem or "no answer to the request for a transition"
            if watch.failed(now_ns=self._clock.monotonic_ns(), problem=problem):
                self._log.error(f"{watch.name} does not come up: {problem}; trying again")
