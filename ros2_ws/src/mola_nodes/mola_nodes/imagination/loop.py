"""Imagining, over and over, in a thread of its own, by the bundle in service."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from mola_core.contracts.clock import NS_PER_MS, NS_PER_S, Clock
from mola_core.contracts.errors import MolaError
from mola_core.contracts.io_spec import IoSpec
from mola_core.runtime.foresight import Foresight, Imagination, Observed
from mola_core.runtime.observation import views_of
from mola_core.runtime.slot import EngineSlot, Half
from mola_core.runtime.tensors import on_host
from mola_nodes.bounded_calls import BoundedCalls
from mola_nodes.imagination.frames import NewestFrames
from mola_nodes.policy.lateness import Lateness
from mola_nodes.policy.tally import RunTally

_WAIT_S = 0.2


class ImaginationHalf(Half, Protocol):
    """The first half of a bundle, loaded."""

    @property
    def imagination(self) -> Imagination: ...

    @property
    def io(self) -> IoSpec: ...


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


class ImaginationLoop:
    """Runs while entered. ``deliver`` is given each foresight and whether it is the staged bundle's."""

    def __init__(
        self,
        *,
        slot: EngineSlot[ImaginationHalf],
        frames: NewestFrames,
        instruction: Callable[[], str],
        deliver: Callable[[Foresight, bool], None],
        shadow: Callable[[Seen], None],
        settings: LoopSettings,
        clock: Clock,
    ) -> None:
        """``instruction`` is empty while nobody wants anything; ``shadow`` may let the staged bundle imagine from the same."""
        self._slot = slot
        self._frames = frames
        self._instruction = instruction
        self._deliver = deliver
        self._shadow = shadow
        self._settings = settings
        self._clock = clock
        self._turns = itertools.count()
        self._lateness = Lateness(settings.late_ms)
        self._calls = BoundedCalls[Foresight]("imagine")
        self._last_ns = 0
        self.runs = RunTally()
        self.newest: tuple[ImaginationHalf, Foresight] | None = None
        """For the preview."""
        self._stop = threading.Event()
        self._wanted = threading.Event()
        """Asked for, or the end."""
        self._thread = threading.Thread(target=self._run, name="imagination", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._wanted.set()
        self._thread.join()
        self._calls.__exit__(None, None, None)

    def ask(self) -> None:
        """Somebody waits for a foresight of what is seen now. From any thread."""
        self._wanted.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._instruction():
                self.runs.pause()
                self._slot.active()
                self._stop.wait(_WAIT_S / 10)
            elif self._frames.wait(self._settings.lead_role, after_ns=self._last_ns, timeout_s=_WAIT_S):
                begin_ns = self._clock.monotonic_ns()
                self._wanted.clear()
                self.turn()
                elapsed_s = (self._clock.monotonic_ns() - begin_ns) / NS_PER_S
                self._wanted.wait(max(1.0 / self._settings.unasked_hz - elapsed_s, 0.0))

    def turn(self) -> None:
        """Imagine once from the newest frames."""
        half = self._slot.active()
        instruction = self._instruction()
        pixels, stamps_ns = self._frames.newest(self._roles(half))
        self._last_ns = stamps_ns.get(self._settings.lead_role, self._last_ns)
        if half is None or not instruction or self._frames.stale(stamps_ns, limit_ms=self._settings.stale_ms):
            return
        foresight = self._imagine(half, pixels, stamps_ns, instruction)
        if foresight is None:
            return
        self._deliver(foresight, False)
        self.newest = (half, foresight)
        if next(self._turns) % self._settings.shadow_every == 0:
            self._shadow(Seen(pixels, stamps_ns, instruction, seed=foresight.noise_seed))

    def _roles(self, half: ImaginationHalf | None) -> set[str]:
        seen = set() if half is None else {view.camera for view in half.io.views}
        return seen | {self._settings.lead_role}

    def _imagine(
        self, half: ImaginationHalf, pixels: dict[str, np.ndarray], stamps_ns: dict[str, int], instruction: str
    ) -> Foresight | None:
        """None where the half erred or is late: it is taken out of service."""
        begin_ns = self._clock.monotonic_ns()
        try:
            given = observed(half, pixels, stamps_ns, instruction)
            foresight = self._calls.call(
                lambda: half.imagination.imagine(given), limit_s=self._lateness.patience_ms / 1000.0
            )
            problem = problem_of(foresight)
        except (MolaError, RuntimeError) as error:
            foresight, problem = None, str(error)
        now_ns = self._clock.monotonic_ns()
        duration_ms = (now_ns - begin_ns) / NS_PER_MS
        problem = problem or self._lateness.judge(half.bundle_id, duration_ms)
        if problem:
            self._slot.fail(half.bundle_id, problem)
            return None
        self.runs.note(half.bundle_id, duration_ms=duration_ms, now_ns=now_ns)
        return foresight


def observed(
    half: ImaginationHalf, pixels: dict[str, np.ndarray], stamps_ns: dict[str, int], instruction: str
) -> Observed:
    """What ``half`` is given of the frames.

    Raises:
        MolaError: a camera that it needs has not delivered.
    """
    views = views_of(pixels, io=half.io)
    return Observed(stamp_ns=min(stamps_ns[camera] for camera in views), views=views, instruction=instruction)


def problem_of(foresight: Foresight) -> str:
    """Why nothing must rest on it; empty where nothing is wrong with it."""
    for name, tensor in foresight.tensors.items():
        if isinstance(tensor, np.ndarray) and tensor.dtype.kind == "f" and not np.isfinite(on_host(tensor)).all():
            return f"{name} of its foresight are not finite"
    return ""
