"""When a bundle is too slow to stay in service."""

_RUNS = 3
"""In a row: one may have had to share the machine."""
_FAR_BEYOND = 2.0
"""Times the limit: then one is enough, and nobody waits for it."""


class Lateness:
    """Judges the runs of one half. Belongs to one thread."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._bundle_id = ""
        self._late = 0

    @property
    def patience_ms(self) -> float:
        """How long a run may take at most."""
        return _FAR_BEYOND * self._limit_ms

    def judge(self, bundle_id: str, duration_ms: float) -> str:
        """Take in a run of ``bundle_id``; why it has to leave, empty where it may stay."""
        if bundle_id != self._bundle_id:
            self._bundle_id, self._late = bundle_id, 0
        self._late = self._late + 1 if duration_ms > self._limit_ms else 0
        if self._late < _RUNS and duration_ms <= self.patience_ms:
            return ""
        often = f", {self._late} times in a row" if self._late > 1 else ""
        return f"it took {duration_ms:.0f} ms, more than {self._limit_ms:.0f} ms{often}"
