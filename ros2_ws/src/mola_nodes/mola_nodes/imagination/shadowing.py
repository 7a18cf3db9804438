"""The staged bundle's imagination beside the one in service, in a thread of its own that comes after everything that moves the arm."""

import threading
from types import TracebackType
from typing import Self

from mola_core.contracts.errors import MolaError
from mola_core.runtime.foresight import Foresight, Observed
from mola_core.runtime.slot import EngineSlot
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.imagination.delivery import Delivery
from mola_nodes.imagination.half import ImaginationHalf, imagined, observed
from mola_nodes.imagination.loop import Seen
from mola_nodes.turns import Troubles, TurnThread

_WAIT_S = 0.1
_PATIENCE_S = 20.0
"""What runs on what the others leave may take long; what takes longer than this does not come back."""


class ImaginationShadow:
    """Imagines from the newest that it was offered, while entered; its errors concern only itself."""

    def __init__(
        self,
        *,
        slot: EngineSlot[ImaginationHalf],
        delivery: Delivery,
        troubles: Troubles,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """A staged bundle that takes longer than ``patience_s`` for a foresight is given up."""
        self._slot = slot
        self._delivery = delivery
        self._patience_s = patience_s
        self._calls = BoundedCalls[Foresight]("shadow")
        self._offered = threading.Condition()
        self._seen: Seen | None = None
        self._thread = TurnThread(self._wait_and_follow, name="shadow", troubles=troubles, background=True)

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)
        self._calls.__exit__(kind, error, trace)

    def offer(self, seen: Seen) -> None:
        """Returns at once; what was not taken up in time is forgotten."""
        if not self._slot.wanted().staged:
            return
        with self._offered:
            self._seen = seen
            self._offered.notify()

    def _wait_and_follow(self) -> None:
        with self._offered:
            self._offered.wait_for(lambda: self._seen is not None, _WAIT_S)
            seen, self._seen = self._seen, None
        if seen is not None:
            self.follow(seen)

    def follow(self, seen: Seen) -> None:
        """Let the staged bundle imagine from the same frames and noise.

        Raises:
            MolaError: it cannot be given these frames; the bundle is not to blame.
        """
        staged = self._slot.wanted().staged
        half = self._slot.get(staged) if staged else None
        if half is None:
            return
        given = observed(half, seen.pixels, seen.stamps_ns, seen.instruction)
        try:
            self._imagine(half, given, seed=seen.seed)
        except MolaError as error:
            if staged in self._slot.wanted().bundles:  # it may only have been retired meanwhile
                self._slot.fail(staged, f"in the shadow: {error}")

    def _imagine(self, half: ImaginationHalf, given: Observed, *, seed: int) -> None:
        foresight = imagined(
            half, given, delivery=self._delivery, calls=self._calls, limit_s=self._patience_s, noise_seed=seed
        )
        self._delivery.deliver(foresight, shadow=True)
