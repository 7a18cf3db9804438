"""How far a stage is: by its steps, or by the time that it has."""

from mola_core.contracts.clock import NS_PER_S, Clock


class Pace:
    """Where the schedule of ``steps`` steps stands; with ``within_s`` it is run through by then, in fewer steps where need be."""

    def __init__(self, steps: int, *, within_s: float | None, clock: Clock) -> None:
        self._steps, self._within_s, self._clock = steps, within_s, clock
        self._begin_ns = clock.monotonic_ns()

    def begin(self) -> None:
        """The time counts from here."""
        self._begin_ns = self._clock.monotonic_ns()

    def at(self, step: int) -> int:
        """The schedule's step in our step ``step``: the same, or a later one where the time runs out first."""
        if self._within_s is None:
            return step
        spent_s = (self._clock.monotonic_ns() - self._begin_ns) / NS_PER_S
        return max(step, int(spent_s / self._within_s * self._steps))

    def over(self, done: int) -> bool:
        """Whether the stage ends with ``done`` steps."""
        return self.at(done) >= self._steps
