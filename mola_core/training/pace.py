"""How far a stage is: by its steps, or by the time that it has."""

from mola_core.contracts.clock import NS_PER_S, Clock


class Pace:
    """Where the schedule of ``steps`` steps stands; with ``within_s`` it is run through by then, in fewer steps where need be.

    Processes that train together must agree on it: they average the time that each has seen pass (:meth:`spent_s`, :meth:`agree`).
    """

    def __init__(self, steps: int, *, within_s: float | None, clock: Clock) -> None:
        self._steps, self._within_s, self._clock = steps, within_s, clock
        self._agreed_s = 0.0
        self.begin()

    def begin(self) -> None:
        """The time counts from here."""
        self._begin_ns = self._clock.monotonic_ns()

    def spent_s(self) -> float:
        """What this process has seen pass."""
        return (self._clock.monotonic_ns() - self._begin_ns) / NS_PER_S

    def agree(self, spent_s: float) -> None:
        """What all have seen pass, on average; until the next time this is what counts."""
        self._agreed_s = spent_s

    def at(self, step: int) -> int:
        """The schedule's step in our step ``step``: the same, or a later one where the time runs out first."""
        if self._within_s is None:
            return step
        return max(step, int(self._agreed_s / self._within_s * self._steps))

    def over(self, done: int) -> bool:
        """Whether the stage ends with ``done`` steps."""
        return self.at(done) >= self._steps
