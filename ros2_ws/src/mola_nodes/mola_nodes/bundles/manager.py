"""The bundle manager without a graph: try in a child process, stage, promote, roll back; one thing at a time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import MolaError
from mola_core.runtime.halves import BundleShelf
from mola_core.runtime.probe import probe_bundle, require_memory, require_speed
from mola_core.runtime.slot import SlotReport, Wanted
from mola_core.runtime.swap import SwapError, SwapManager

Probe = Callable[[str], None]
"""Tries a bundle id; BundleError where it is not fit to be loaded."""


@dataclass(frozen=True)
class ProbeSettings:
    """How bundles are tried before they are loaded."""

    site: Path
    root: Path
    timeout_s: float
    reserve_bytes: int
    late_ms: float


def make_probe(settings: ProbeSettings) -> Probe:
    """Loads, self-tests and runs a bundle in a child process, then asks whether its memory can be had and its pace be kept."""

    def probe(bundle_id: str) -> None:
        report = probe_bundle(site=settings.site, root=settings.root, bundle_id=bundle_id, timeout_s=settings.timeout_s)
        require_memory(report, bundle_id=bundle_id, reserve_bytes=settings.reserve_bytes)
        require_speed(report, bundle_id=bundle_id, late_ms=settings.late_ms)

    return probe


class BundleManager:
    """Called from the executor's thread; trying a bundle happens in a thread of its own."""

    def __init__(
        self, *, shelf: BundleShelf, probe: Probe, swap: SwapManager, on_wish: Callable[[Wanted], None]
    ) -> None:
        """``on_wish`` is told every new wish, from whichever thread made it."""
        self._shelf = shelf
        self._probe = probe
        self._swap = swap
        self._on_wish = on_wish
        self._lock = threading.RLock()
        self._trying = ""
        self._thread: threading.Thread | None = None

    def begin(self, bundle_id: str) -> None:
        """Serve this bundle from the start.

        Raises:
            BundleError: absent, damaged, not for this machine or this site.
        """
        self._shelf.open(bundle_id)
        with self._lock:
            self._swap.begin(bundle_id)
            self._tell()

    def load(self, bundle_id: str) -> None:
        """Try it, then load it beside the one in service; returns at once. One that is loaded already needs no trial.

        Raises:
            BundleError: there is no such bundle; whether it is sound and for this site is for the trial to say.
            SwapError: another one is being tried, or it serves already.
        """
        self._shelf.path_of(bundle_id)
        with self._lock:
            if self._trying:
                raise SwapError(f"bundle {self._trying} is being tried; wait for it")
            if bundle_id == self._swap.wish.active:
                raise SwapError(f"bundle {bundle_id} is in service already")
            if self._swap.is_loaded(bundle_id):
                self._swap.stage(bundle_id)
                self._tell()
                return
            self._trying = bundle_id
            self._swap.reason = ""
        self._thread = threading.Thread(target=self._try, args=(bundle_id,), name="probe", daemon=True)
        self._thread.start()

    def promote(self, bundle_id: str) -> None:
        """Let the staged bundle take over. Raises SwapError where it cannot."""
        with self._lock:
            self._swap.promote(bundle_id)
            self._tell()

    def rollback(self, reason: str) -> str:
        """Bring back the bundle that served before; its id. Raises SwapError where there is none."""
        with self._lock:
            bundle_id = self._swap.rollback(reason)
            self._tell()
            return bundle_id

    def unload(self) -> tuple[str, ...]:
        """Let go of every bundle that does not serve, so that its memory can be had; their ids.

        Raises:
            SwapError: one is being tried.
        """
        with self._lock:
            if self._trying:
                raise SwapError(f"bundle {self._trying} is being tried; wait for it")
            released = self._swap.release()
            if released:
                self._tell()
            return released

    def note(self, half: str, report: SlotReport) -> None:
        """Take in where a half is."""
        with self._lock:
            before = self._swap.wish.revision
            self._swap.note(half, report)
            if self._swap.wish.revision != before:
                self._tell()

    @property
    def trying(self) -> str:
        """Bundle that is being tried in a child process; empty when none is."""
        return self._trying

    @property
    def swap(self) -> SwapManager:
        """Where everything is; read only."""
        return self._swap

    @property
    def shelf(self) -> BundleShelf:
        """The bundles of this machine."""
        return self._shelf

    def _try(self, bundle_id: str) -> None:
        reason = ""
        try:
            self._probe(bundle_id)
            with self._lock:
                self._swap.stage(bundle_id)
                self._tell()
        except MolaError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - whoever waits for the bundle has to hear why it does not come
            reason = f"bundle {bundle_id} could not be tried: {type(error).__name__}: {error}"
        with self._lock:
            if reason:
                self._swap.reason = reason
            self._trying = ""

    def _tell(self) -> None:
        self._on_wish(self._swap.wish)


def problem_of(shelf: BundleShelf, bundle_id: str) -> tuple[str, str]:
    """Runtimes that a bundle has engines for, and why it could not be served here; empty when it could, as far as it says itself: its
    bytes, gigabytes perhaps, are looked at when it is tried.
    """
    try:
        bundle = shelf.open(bundle_id, verify=False)
    except (MolaError, OSError) as error:
        return "", str(error)
    return ", ".join(build.label for build in bundle.manifest.builds), ""
