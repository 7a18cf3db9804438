"""Imagining, over and over, in a thread of its own, by the bundle in service."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import MolaError
from mola_core.runtime.foresight import Foresight, Observed
from mola_core.runtime.slot import EngineSlot
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.imagination.delivery import Delivery
from mola_nodes.imagination.frames import NewestFrames, pixels_of, stamps_of
from mola_nodes.imagination.half import HalfError, ImaginationHalf, imagined, observed
from mola_nodes.policy.lateness import Lateness
from mola_nodes.policy.tally import RunTally
from mola_nodes.turns import Troubles, TurnThread

_WAIT_S = 0.2


@dataclass(frozen=True)
class LoopSettings:
    """How the loop runs."""

    lead_role: str
    """Camera whose frames set the pace."""
    stale_ms: int
    """Frames older than this are not imagined from."""
    late_ms: float
    """A bundle that takes longer is taken out of service by :class:`mola_nodes.policy.lateness.Lateness`."""
    shadow_every: int
    """Turns of the bundle in service for one of the staged bundle, in the shadow."""
    unasked_hz: float
    """Turns a second while nobody asks for one: so often imagination is held against the world between two answers. What imagining
    leaves of a shared processor, cameras and arm live on."""


@dataclass(frozen=True)
class Seen:
    """What the bundle in service has just imagined from."""

    pixels: dict[str, np.ndarray]
    stamps_ns: dict[str, int]
    instruction: str
    seed: int


@dataclass(frozen=True)
class LoopParts:
    """What the loop works with."""

    slot: EngineSlot[ImaginationHalf]
    frames: NewestFrames
    instruction: Callable[[], str]
    """Empty while nobody wants anything."""
    delivery: Delivery
    shadow: Callable[[Seen], None]
    """May let the staged bundle imagine from the same."""
    troubles: Troubles
    clock: Clock


class ImaginationLoop:
    """Runs while entered."""

    def __init__(self, parts: LoopParts, settings: LoopSettings) -> None:
        self._parts = parts
        self._slot, self._frames, self._clock = parts.slot, parts.frames, parts.clock
        self._settings = settings
        self._turns = itertools.count()
        self._lateness = Lateness(settings.late_ms)
        self._calls = BoundedCalls[Foresight]("imagine")
        self._last_ns = 0
        """Of the newest frame that was looked at."""
        self._due_ns = 0
        """Monotonic; when it looks without being asked."""
        self.runs = RunTally()
        self.newest: tuple[ImaginationHalf, Foresight] | None = None
        """For the preview."""
        self._wanted = threading.Event()
        """Asked for, or the end."""
        self._thread = TurnThread(self._wait_and_turn, name="imagination", troubles=parts.troubles)

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stopping.set()
        self._wanted.set()
        self._thread.__exit__(kind, error, trace)
        self._calls.__exit__(kind, error, trace)

    def ask(self) -> None:
        """Somebody waits for a foresight of what is seen now. From any thread."""
        self._wanted.set()

    def _wait_and_turn(self) -> None:
        if not self._parts.instruction():
            self.runs.pause()
            self._slot.active()
            self._due_ns = 0  # the first of a run is not asked for
            self._thread.stopping.wait(_WAIT_S / 10)
            return
        self._wanted.wait(max((self._due_ns - self._clock.monotonic_ns()) / NS_PER_S, 0.0))
        if self._thread.stopping.is_set():
            return
        if self._frames.wait(self._settings.lead_role, after_ns=self._last_ns, timeout_s=_WAIT_S):
            self._due_ns = self._clock.monotonic_ns() + round(NS_PER_S / self._settings.unasked_hz)
            self._turn_as_asked()

    def _turn_as_asked(self) -> None:
        asked = self._wanted.is_set()
        self._wanted.clear()
        try:
            self.turn()
        except MolaError:
            if asked:  # whoever waits still waits: the next frames may do
                self._wanted.set()
            raise

    def turn(self) -> None:
        """Imagine once from the newest frames.

        Raises:
            MolaError: the frames are not what anybody can imagine from; no bundle is to blame.
        """
        half = self._slot.active()
        instruction = self._parts.instruction()
        messages = self._frames.newest(self._roles(half))
        stamps_ns = stamps_of(messages)
        # before anything can be refused: what was is not looked at again
        self._last_ns = stamps_ns.get(self._settings.lead_role, self._last_ns)
        if half is None or not instruction or self._frames.stale(stamps_ns, limit_ms=self._settings.stale_ms):
            return
        pixels = pixels_of(messages)
        foresight = self._imagine(half, observed(half, pixels, stamps_ns, instruction))
        if foresight is None:
            return
        self.newest = (half, foresight)
        if next(self._turns) % self._settings.shadow_every == 0:
            self._parts.shadow(Seen(pixels, stamps_ns, instruction, seed=foresight.noise_seed))

    def _roles(self, half: ImaginationHalf | None) -> set[str]:
        seen = set() if half is None else {view.camera for view in half.io.views}
        return seen | {self._settings.lead_role}

    def _imagine(self, half: ImaginationHalf, given: Observed) -> Foresight | None:
        """Delivered; None where the half erred or is late: it is taken out of service."""
        begin_ns = self._clock.monotonic_ns()
        try:
            foresight = imagined(
                half,
                given,
                delivery=self._parts.delivery,
                calls=self._calls,
                limit_s=self._lateness.patience_ms / 1000.0,
            )
            now_ns = self._clock.monotonic_ns()
            duration_ms = (now_ns - begin_ns) / NS_PER_MS
            self._require_in_time(half, duration_ms)
            self._deliver(foresight)
        except HalfError as error:
            self._slot.fail(half.bundle_id, str(error))
            return None
        self.runs.note(half.bundle_id, duration_ms=duration_ms, now_ns=now_ns)
        return foresight

    def _require_in_time(self, half: ImaginationHalf, duration_ms: float) -> None:
        late = self._lateness.judge(half.bundle_id, duration_ms)
        if late:
            raise HalfError(late)

    def _deliver(self, foresight: Foresight) -> None:
        try:
            self._parts.delivery.deliver(foresight, shadow=False)
        except MolaError as error:
            raise HalfError(f"its foresight cannot be delivered: {error}") from error
