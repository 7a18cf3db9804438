"""A thread of a node that takes turn after turn: what a turn refuses is told, and it neither dies nor stays behind unheard of."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mola_core.contracts.clock import NS_PER_S, Clock
from mola_core.contracts.errors import MolaError
from mola_nodes.background import come_last

_LEAVE_S = 2.0
_LOG_EVERY_NS = 2 * NS_PER_S


class LeftBehindError(MolaError):
    """A thread has not come back from its turn in time; it goes on by itself."""


@dataclass(frozen=True)
class Troubles:
    """Who is told what goes wrong in a thread of a node; called in that thread."""

    refused: Callable[[MolaError], None]
    """What a turn was given could not be used; the next turn is taken."""
    bug: Callable[[BaseException], None]
    """Anything else: the thread has ended, and its node must not live on without it."""


def log_of_refused(what: str, *, warn: Callable[[str], object], clock: Clock) -> Callable[[MolaError], None]:
    """Tells ``warn`` what is refused, as of ``what``, every two seconds at most."""
    due_ns = clock.monotonic_ns()

    def refused(error: MolaError) -> None:
        # not rclpy's own throttle: it counts by the line of the call, and one topic or thread would silence the others
        nonlocal due_ns
        now_ns = clock.monotonic_ns()
        if now_ns >= due_ns:
            due_ns = now_ns + _LOG_EVERY_NS
            warn(f"{what}: {error}")

    return refused


class TurnThread:
    """Takes turns while entered."""

    def __init__(
        self,
        turn: Callable[[], None],
        *,
        name: str,
        troubles: Troubles,
        background: bool = False,
        leave_s: float = _LEAVE_S,
    ) -> None:
        """``turn`` waits a moment for its occasion, takes it, and returns. In the ``background`` it runs on what the others leave;
        leaving waits at most ``leave_s`` for the turn under way.
        """
        self._turn = turn
        self._name = name
        self._troubles = troubles
        self._background = background
        self._leave_s = leave_s
        self.stopping = threading.Event()
        """The end is wished for; a turn that waits may wait for this instead."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._thread.join(self._leave_s)
        if self._thread.is_alive():
            late = f"thread {self._name!r} has not come back from its turn within {self._leave_s:g} s and is left to itself"
            self._troubles.refused(LeftBehindError(late))

    def _run(self) -> None:
        if self._background:
            come_last()
        try:
            while not self.stopping.is_set():
                self._take()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            if not self.stopping.is_set():  # one that was left behind finds gone what it needs
                self._troubles.bug(error)

    def _take(self) -> None:
        try:
            self._turn()
        except MolaError as error:
            self._troubles.refused(error)
