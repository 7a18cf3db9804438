"""The arm's state at the moment a picture was taken, out of the states of the last second."""

import threading
from collections import deque

import numpy as np

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import MolaError
from mola_core.contracts.types import RobotState

_MEMORY = 64


class StateMissingError(MolaError):
    """No robot state is near enough to the moment that was asked for."""


class StateHistory:
    """Written by the executor's thread, asked by the run's."""

    def __init__(self, *, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._states: deque[RobotState] = deque(maxlen=_MEMORY)
        self._lock = threading.Lock()

    def note(self, state: RobotState) -> None:
        """A robot state has arrived."""
        with self._lock:
            self._states.append(state)

    def at(self, stamp_ns: int) -> RobotState:
        """The state nearest to ``stamp_ns``.

        Raises:
            StateMissingError: the nearest is further away than the tolerance.
        """
        with self._lock:
            states = list(self._states)
        if not states:
            raise StateMissingError("no robot state has arrived")
        distances_ns = [abs(state.stamp_ns - stamp_ns) for state in states]
        nearest = int(np.argmin(distances_ns))
        if distances_ns[nearest] > self._tolerance_ns:
            raise StateMissingError(
                f"the nearest robot state is {distances_ns[nearest] / NS_PER_MS:.0f} ms from the picture, "
                f"more than {self._tolerance_ns / NS_PER_MS:.0f} ms"
            )
        return states[nearest]
