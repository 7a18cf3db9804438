"""The staged bundle's imagination beside the one in service, in a thread of its own that comes after everything that moves the arm."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mola_core.contracts.errors import MolaError
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.slot import EngineSlot
from mola_nodes.background import come_last
from mola_nodes.imagination.loop import ImaginationHalf, Seen, observed, problem_of

_WAIT_S = 0.1


class ImaginationShadow:
    """Imagines from the newest that it was offered, while entered; its errors concern only itself."""

    def __init__(self, *, slot: EngineSlot[ImaginationHalf], deliver: Callable[[Foresight, bool], None]) -> None:
        self._slot = slot
        self._deliver = deliver
        self._offered = threading.Condition()
        self._seen: Seen | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def offer(self, seen: Seen) -> None:
        """Returns at once; what was not taken up in time is forgotten."""
        if not self._slot.wanted().staged:
            return
        with self._offered:
            self._seen = seen
            self._offered.notify()

    def _run(self) -> None:
        come_last()
        while not self._stop.is_set():
            with self._offered:
                self._offered.wait_for(lambda: self._seen is not None, _WAIT_S)
                seen, self._seen = self._seen, None
            if seen is not None:
                self.follow(seen)

    def follow(self, seen: Seen) -> None:
        """Let the staged bundle imagine from the same frames and noise."""
        staged = self._slot.wanted().staged
        half = self._slot.get(staged) if staged else None
        if half is None:
            return
        try:
            given = observed(half, seen.pixels, seen.stamps_ns, seen.instruction)
            foresight = half.imagination.imagine(given, noise_seed=seen.seed)
            problem = problem_of(foresight)
        except (MolaError, RuntimeError) as error:
            foresight, problem = None, str(error)
        if foresight is None or problem:
            if staged in self._slot.wanted().bundles:  # it may only have been retired meanwhile
                self._slot.fail(staged, f"in the shadow: {problem}")
        else:
            self._deliver(foresight, True)
