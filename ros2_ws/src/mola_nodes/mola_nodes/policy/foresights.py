"""The newest foresight of the bundle in service, and of the one in its shadow, between the threads of a node."""

import threading

from mola_core.runtime.foresight import Foresight


class NewestForesights:
    """Written by whoever receives or imagines, taken by the run's thread; what was not taken in time is forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._serving: Foresight | None = None
        self._shadow: Foresight | None = None

    def note(self, foresight: Foresight, *, shadow: bool) -> None:
        """A foresight has arrived."""
        with self._lock:
            if shadow:
                self._shadow = foresight
            else:
                self._serving = foresight
            self._lock.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Whether there is one of the bundle in service within ``timeout_s``."""
        with self._lock:
            return self._lock.wait_for(lambda: self._serving is not None, timeout_s)

    def wait_shadow(self, timeout_s: float) -> bool:
        """Whether there is one of the staged bundle within ``timeout_s``."""
        with self._lock:
            return self._lock.wait_for(lambda: self._shadow is not None, timeout_s)

    def forget(self) -> None:
        """What came before is not of this run."""
        with self._lock:
            self._serving = self._shadow = None

    def take(self) -> Foresight | None:
        """The newest that has not been taken."""
        with self._lock:
            newest, self._serving = self._serving, None
        return newest

    def take_shadow(self) -> Foresight | None:
        """The newest of the staged bundle that has not been taken."""
        with self._lock:
            newest, self._shadow = self._shadow, None
        return newest
