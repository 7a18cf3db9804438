"""A planner that thinks in a thread of its own: whoever keeps the running plan alive never waits for inference.

The run's thread sends the newest plan again with every frame, for as long as it sees; how long the next plan takes is a
matter of its quality, never of the arm's stopping.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mola_core.contracts.types import ActionChunk
from mola_nodes.policy.rollout import Planner, RolloutEnd

_WAIT_S = 0.1


class ThinkingPlanner:
    """Thinks while entered; itself a :class:`mola_nodes.policy.rollout.Planner` whose :meth:`plan` returns at once."""

    def __init__(self, planner: Planner, *, wait: Callable[[float], bool], wake: Callable[[], None]) -> None:
        """``planner.plan`` is asked, in the thinking thread, whenever ``wait`` (at most so many seconds) says that there is something
        to think about; ``wake`` is called when a plan, or an error, can be fetched.
        """
        self._planner = planner
        self._wait = wait
        self._wake = wake
        self._lock = threading.Lock()
        self._chunk: ActionChunk | None = None
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="thinking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def phase(self) -> str:
        """See :class:`mola_nodes.policy.rollout.Planner`."""
        return self._planner.phase

    def refusal(self) -> str:
        """See :class:`mola_nodes.policy.rollout.Planner`."""
        return self._planner.refusal()

    def ending(self) -> RolloutEnd | None:
        """See :class:`mola_nodes.policy.rollout.Planner`."""
        return self._planner.ending()

    def plan(self) -> ActionChunk | None:
        """The newest plan that has not been fetched.

        Raises:
            Exception: what the planner raised.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            chunk, self._chunk = self._chunk, None
        return chunk

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._wait(_WAIT_S):
                continue
            try:
                chunk = self._planner.plan()
            except Exception as error:  # noqa: BLE001 - raised again where the run can end for it
                with self._lock:
                    self._error = error
                self._wake()
                return
            if chunk is not None:
                with self._lock:
                    self._chunk = chunk
                self._wake()
