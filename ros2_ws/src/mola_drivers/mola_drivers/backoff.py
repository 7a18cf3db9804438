"""How long to wait before trying a lost device again."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles the pause from ``initial_s`` up to ``longest_s`` until told that the device works again."""

    initial_s: float = 0.2
    longest_s: float = 5.0
    _next_s: float = 0.0

    def next_s(self) -> float:
        """The pause before the next attempt, s."""
        pause_s = self._next_s or self.initial_s
        self._next_s = min(2.0 * pause_s, self.longest_s)
        return pause_s

    def reset(self) -> None:
        """The device works; start again from ``initial_s`` next time."""
        self._next_s = 0.0
