"""Where the engines in service live: what is wanted is loaded beside what serves, and what serves changes by a pointer.

One slot holds one half of the policy (imagination or actor). The bundle manager says which bundles are wanted and which of them
serves; every slot brings itself there, also after a restart. Loading happens in a thread of low priority; a bundle that
cannot be loaded, or whose answers are wrong while it serves, is reported and never takes the serving one with it.
"""

import contextlib
import gc
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from mola_core.contracts.clock import NS_PER_S, Clock, SystemClock
from mola_core.contracts.errors import MolaError

_LOADER_NICE = 10
_CLOSE_S = 2.0
_log = logging.getLogger(__name__)


class Half(Protocol):
    """One half of a bundle's policy, loaded."""

    @property
    def bundle_id(self) -> str: ...

    def close(self) -> None:
        """Release its engines' memory, once a call that is under way has ended."""
        ...


HalfT_co = TypeVar("HalfT_co", bound=Half, covariant=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the bundle manager wants; ids are ``name/version``, empty for none."""

    revision: int = 0
    """Counts up with every change."""
    active: str = ""
    """Serves."""
    staged: str = ""
    """Loaded and warm, runs in the shadow."""
    previous: str = ""
    """Kept loaded, for an instant rollback."""

    @property
    def bundles(self) -> tuple[str, ...]:
        """All that are to be loaded, the serving one first."""
        return tuple(dict.fromkeys(name for name in (self.active, self.previous, self.staged) if name))


@dataclass(frozen=True)
class SlotReport:
    """Where a slot is."""

    revision: int
    """The newest wish it has heard of."""
    serving: str
    """Bundle in service; empty while there is none."""
    ready: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    """Bundle → why it could not be loaded, or was taken out of service."""
    leaked: tuple[str, ...] = ()
    """Bundles that could not be closed, once for each time: their engines keep their memory until the process ends."""


class EngineSlot(Generic[HalfT_co]):
    """Loads, serves and retires. :meth:`active` belongs to the inference thread, the rest to any; who uses a half from another thread
    (a shadow, a preview) may find it closed.
    """

    def __init__(
        self, load: Callable[[str], HalfT_co], *, close_s: float = _CLOSE_S, clock: Clock | None = None
    ) -> None:
        """``load`` makes a warm, verified half of a bundle id and raises MolaError where it cannot. A half that is not closed within
        ``close_s`` (a call that hangs is still in its engine) is given up as leaked: nothing may wait for it.
        """
        self._load = load
        self._close_s = close_s
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._wanted = Wanted()
        self._halves: dict[str, HalfT_co] = {}
        self._failed: dict[str, str] = {}
        self._in_use = ""
        self._retired: list[HalfT_co] = []
        """Out of the table; the inference thread may still be using them."""
        self._released: list[HalfT_co] = []
        """Nobody uses them any more."""
        self._leaked: list[str] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine loader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self._close_s)  # one that is still loading closes what it brings
        with self._lock:
            left = (*self._halves.values(), *self._retired, *self._released)
            self._halves.clear()
            self._retired.clear()
            self._released.clear()
        self._close(left)

    def want(self, wanted: Wanted) -> None:
        """Take up a wish; an older one than the last is ignored. A bundle that is wanted anew may try again."""
        with self._changed:
            if wanted.revision <= self._wanted.revision:
                return
            before, self._wanted = self._wanted, wanted
            for name in set(wanted.bundles) - set(before.bundles):
                self._failed.pop(name, None)
            self._changed.notify_all()

    def active(self) -> HalfT_co | None:
        """The half that serves: the wanted one if it is ready and sound, else the previous one, else none.

        Whatever was handed out before may be released once this has been called again.
        """
        with self._changed:
            name = self._serving()
            if name != self._in_use or self._retired:
                self._in_use = name
                self._released += self._retired
                self._retired = []
                self._changed.notify_all()
            return self._halves.get(name)

    def get(self, bundle_id: str) -> HalfT_co | None:
        """The half of this bundle, if it is loaded and sound; for following the other half, and for the shadow."""
        with self._lock:
            return None if bundle_id in self._failed else self._halves.get(bundle_id)

    def fail(self, bundle_id: str, reason: str) -> None:
        """Take a bundle out of service at once: it erred, gave what is not finite, or was late."""
        with self._changed:
            self._failed.setdefault(bundle_id, reason)
            self._changed.notify_all()

    def report(self) -> SlotReport:
        """Where it is now."""
        with self._lock:
            return SlotReport(
                revision=self._wanted.revision,
                serving=self._serving(),
                ready=tuple(name for name in self._halves if name not in self._failed),
                failed=dict(self._failed),
                leaked=tuple(self._leaked),
            )

    def wanted(self) -> Wanted:
        """The newest wish."""
        with self._lock:
            return self._wanted

    def _serving(self) -> str:
        for name in (self._wanted.active, self._wanted.previous):
            if name in self._halves and name not in self._failed:
                return name
        # a bundle that nobody wants any more still serves until the wanted one is there
        wanted_is_coming = self._wanted.active and self._wanted.active not in self._failed
        return self._in_use if wanted_is_coming and self._in_use in self._halves else ""

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # inference comes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOADER_NICE)
        while True:
            with self._changed:
                while (name := self._next()) is None and not self._released and not self._closing:
                    self._retire()
                    self._changed.wait()
                if self._closing:
                    return
                released, self._released = self._released, []
            self._close(released)
            if name is not None:
                self._bring(name)

    def _next(self) -> str | None:
        missing = (name for name in self._wanted.bundles if name not in self._halves and name not in self._failed)
        return next(missing, None)

    def _bring(self, name: str) -> None:
        try:
            half = self._load(name)
        except MolaError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a runtime's own error types are many; none may end the loader
            reason = f"{type(error).__name__}: {error}"
        else:
            gc.freeze()  # what was imported and made for it lives long; no collection has to look at it while the robot moves
            with self._changed:
                if not self._closing:
                    self._halves[name] = half
                    return
            self._close((half,))
            return
        with self._changed:
            self._failed[name] = reason

    def _retire(self) -> None:
        """Take out what is not wanted or has failed, except what is in use; the inference thread lets go of it between two calls."""
        keep = {name for name in self._wanted.bundles if name not in self._failed} | {self._in_use}
        for name in [name for name in self._halves if name not in keep]:
            self._retired.append(self._halves.pop(name))

    def _close(self, halves: Iterable[HalfT_co]) -> None:
        """Free their engines, or give them up: closing waits for a call under way, and one that hangs must not hold up later loads."""
        closings = [_Closing(half) for half in halves]
        deadline_ns = self._clock.monotonic_ns() + round(self._close_s * NS_PER_S)
        for closing in closings:
            left_s = (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
            problem = closing.problem(timeout_s=max(left_s, 0.0))
            if problem:
                self._note_leak(closing.bundle_id, problem)

    def _note_leak(self, name: str, problem: str) -> None:
        text = f"its engines could not be closed ({problem}) and keep their memory until this process ends"
        _log.error("bundle %s: %s", name, text)
        with self._lock:
            self._leaked.append(name)
            if name in self._failed:
                self._failed[name] += f"; {text}"


class _Closing:
    """One half being closed, in a thread that may be left to itself."""

    def __init__(self, half: Half) -> None:
        self.bundle_id = half.bundle_id
        self._half = half
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="engine closing", daemon=True)
        self._thread.start()

    def problem(self, *, timeout_s: float) -> str:
        """Why it is not closed after ``timeout_s``; empty where it is."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return "a call into them has not come back"
        return "" if self._error is None else f"{type(self._error).__name__}: {self._error}"

    def _run(self) -> None:
        try:
            self._half.close()
        except Exception as error:  # noqa: BLE001 - a runtime's own error types are many
            self._error = error
