"""Which bundles are wanted: the decisions of a hot swap, without a clock, a graph or an engine.

Both halves of the policy report where they are (:class:`~mola_core.runtime.slot.SlotReport`); the manager changes its wish and the
halves bring themselves there. The imagination decides which bundle a foresight is of, and the actor follows each foresight with the
half of the same bundle, so that both change over together, between two chunks, without a handshake in the control path.
"""

from collections.abc import Mapping
from dataclasses import replace

from mola_core.contracts.errors import MolaError
from mola_core.runtime.slot import SlotReport, Wanted

HALVES = ("imagination", "actor")


class SwapError(MolaError):
    """A bundle cannot be staged, promoted or rolled back now; what serves goes on serving."""


class SwapManager:
    """Not thread-safe. ``wish`` is what the halves are to be told whenever its revision has changed."""

    def __init__(self, *, first_revision: int) -> None:
        """Revisions begin above ``first_revision``, which must grow over restarts (a start time does)."""
        self.wish = Wanted(revision=first_revision)
        self.reason = ""
        """Why the last load or promotion failed, or a bundle was rolled back; empty while all is well."""
        self._reports: dict[str, SlotReport] = {}

    def begin(self, active: str) -> None:
        """Serve this bundle from the start."""
        self._want(active=active)

    def note(self, half: str, report: SlotReport) -> None:
        """Take in where ``half`` is; rolls back by itself when the serving bundle fails there, or ended the process that ran it."""
        before = self._reports.get(half)
        self._reports[half] = report
        if before is not None and self._died(before, report):
            self._give_up(self.wish.active, f"the {half}'s process ended while {self.wish.active} served")
            return
        if report.revision < self.wish.revision:
            return
        staged, active = self.wish.staged, self.wish.active
        if staged in report.failed and staged:
            self._want(active=active, previous=self.wish.previous)
            self.reason = f"{staged} was refused by the {half}: {report.failed[staged]}"
        elif active in report.failed and active:
            self._give_up(active, f"the {half} took {active} out of service: {report.failed[active]}")

    def stage(self, bundle_id: str) -> None:
        """Load a bundle beside the one in service.

        Raises:
            SwapError: it serves already.
        """
        if bundle_id == self.wish.active:
            raise SwapError(f"bundle {bundle_id} is in service already")
        self.reason = ""
        previous = "" if self.wish.previous == bundle_id else self.wish.previous
        self._want(active=self.wish.active, staged=bundle_id, previous=previous)

    def unstage(self, reason: str) -> None:
        """Let go of the staged bundle."""
        self._want(active=self.wish.active, previous=self.wish.previous)
        self.reason = reason

    def release(self) -> tuple[str, ...]:
        """Let go of every bundle that does not serve, the staged one and the one kept for a rollback; their ids."""
        released = tuple(name for name in self.wish.bundles if name != self.wish.active)
        if released:
            self._want(active=self.wish.active)
        return released

    @property
    def staged_is_ready(self) -> bool:
        """Both halves have the staged bundle, warm."""
        return bool(self.wish.staged) and self.is_loaded(self.wish.staged)

    def is_loaded(self, bundle_id: str) -> bool:
        """Whether both halves have it, warm and sound: the one that served before, for example."""
        return all(half in self._reports and bundle_id in self._reports[half].ready for half in HALVES)

    @property
    def settled(self) -> bool:
        """Both halves have heard of the newest wish and serve what it says."""
        return all(
            half in self._reports
            and self._reports[half].revision == self.wish.revision
            and self._reports[half].serving == self.wish.active
            for half in HALVES
        )

    @property
    def reports(self) -> Mapping[str, SlotReport]:
        """The newest of each half."""
        return self._reports

    def promote(self, bundle_id: str) -> None:
        """Let the staged bundle take over.

        Raises:
            SwapError: it is not staged, or not ready in both halves yet.
        """
        if bundle_id != self.wish.staged:
            raise SwapError(f"bundle {bundle_id} is not staged; staged is {self.wish.staged or 'none'}: load it first")
        if not self.staged_is_ready:
            raise SwapError(f"bundle {bundle_id} is still being loaded")
        self.reason = ""
        self._want(active=bundle_id, previous=self.wish.active)

    def rollback(self, reason: str) -> str:
        """Bring back the bundle that served before; its id.

        Raises:
            SwapError: there is none.
        """
        if not self.wish.previous:
            raise SwapError("there is no previous bundle to roll back to")
        self._give_up(self.wish.active, reason or "rolled back by the operator", keep=True)
        return self.wish.active

    def _died(self, before: SlotReport, report: SlotReport) -> bool:
        """Whether the half has begun anew since: what served there is neither loaded nor refused any more."""
        active = self.wish.active
        known = (*report.ready, *report.failed)
        return bool(active) and before.serving == active and active not in known and bool(self.wish.previous)

    def _give_up(self, bundle_id: str, reason: str, *, keep: bool = False) -> None:
        """Back to the previous bundle, if there is one; ``keep`` leaves the abandoned one loaded, to return to."""
        if not self.wish.previous:
            self.reason = f"{reason}; there is no previous bundle"
            return
        self._want(active=self.wish.previous, previous=bundle_id if keep else "")
        self.reason = f"{reason}; {self.wish.active} serves again"

    def _want(self, *, active: str, staged: str = "", previous: str = "") -> None:
        self.wish = replace(self.wish, revision=self.wish.revision + 1, active=active, staged=staged, previous=previous)
