"""A staged bundle beside the one in service: how far apart their plans are, on the same live frames."""

import threading

import numpy as np

from mola_core.runtime.policy import PolicyAnswer

_MEMORY = 8


class ShadowTally:
    """Noted by the thinking and the shadow's thread, read by the reporting one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[int, PolicyAnswer] = {}
        self._bundle_id = ""
        self._runs = 0
        self._total_mm = 0.0

    def remember(self, answer: PolicyAnswer) -> None:
        """What the bundle in service answered."""
        with self._lock:
            self._answers[answer.stamp_ns] = answer
            for stamp_ns in sorted(self._answers)[:-_MEMORY]:
                del self._answers[stamp_ns]

    def served(self, stamp_ns: int) -> PolicyAnswer | None:
        """What the bundle in service answered to what was seen at ``stamp_ns``."""
        with self._lock:
            return self._answers.get(stamp_ns)

    def compare(self, bundle_id: str, shadow: PolicyAnswer, served: PolicyAnswer) -> None:
        """Take in how far the staged bundle's plan is from the one that is executed."""
        rows = min(len(shadow.targets), len(served.targets))
        apart = np.linalg.norm(shadow.targets[:rows, :3] - served.targets[:rows, :3], axis=1)
        with self._lock:
            if bundle_id != self._bundle_id:
                self._bundle_id, self._runs, self._total_mm = bundle_id, 0, 0.0
            self._runs += 1
            self._total_mm += 1000.0 * float(apart.mean())

    @property
    def figures(self) -> tuple[int, float]:
        """Answers compared since the bundle was staged, and the mean distance of the plans, mm; -1 when none was."""
        with self._lock:
            return self._runs, self._total_mm / self._runs if self._runs else -1.0
